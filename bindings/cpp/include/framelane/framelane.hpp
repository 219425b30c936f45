// Live video frames between processes, through shared memory: the C++17 interface, over framelane.h.
// SPDX-License-Identifier: MIT OR Apache-2.0
//
//     framelane::Publisher publisher("cam0");
//     auto loan = publisher.loan({framelane::Format::Bgr8, 1920, 1080});   // written where the readers read
//     fill(loan.data());
//     loan.publish();
//
//     framelane::Subscriber subscriber("cam0");                            // usually in another process
//     for (framelane::Frame& frame : subscriber) use(frame.data());        // until the channel closes
//
// Objects own their resources and can be moved, not copied. Every failing call throws
// framelane::FramelaneError. With OpenCV, include <framelane/opencv.hpp>.
#pragma once

#if (defined(_MSVC_LANG) ? _MSVC_LANG : __cplusplus) < 201703L
#error "framelane needs C++17: compile with -std=c++17 (MSVC: /std:c++17; CMake: CMAKE_CXX_STANDARD 17)"
#else
#include <framelane/cancel.hpp>
#include <framelane/channels.hpp>
#include <framelane/detection.hpp>
#include <framelane/error.hpp>
#include <framelane/format.hpp>
#include <framelane/options.hpp>
#include <framelane/publisher.hpp>
#include <framelane/subscriber.hpp>
#endif
