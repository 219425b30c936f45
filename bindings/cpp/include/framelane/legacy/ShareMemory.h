// A drop-in for programs written against the old ShareMemory.h: the same class, the same memory, without its
// faults.
// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Programs compile against it without an edit, and share frames with old readers and writers in both
// directions. As the old header did, it includes all of OpenCV, and <Windows.h> where the include path has
// it: `legacy/windows` next to this file is a stand-in for Linux. Needs C++14, OpenCV 3.4 or later and POSIX
// shared memory. docs/migrating-from-sharememory.md.
//
// To be defined before the include, the same in all programs:
//   FRAME_NUMBER, FRAME_W, FRAME_H   streams in one mapping, and the largest frame of each (1, 1920, 1080)
//   FRAMELANE_LEGACY_NAME            the mapping's name ("ShareMedia")
//   FRAMELANE_LEGACY_MODE            permissions of a mapping that is made (0600: this user alone)
//   FRAMELANE_LEGACY_OWNER           the user that a mapping must belong to (geteuid()); another number
//                                    trusts that user
//   FRAMELANE_LEGACY_SETTLE_MS       milliseconds without a change after which a frame counts as whole when
//                                    its writer is not visible in /proc (200)
//   FRAMELANE_LEGACY_CORE_ONLY       include OpenCV's core module only
//   FRAMELANE_LEGACY_OPENCV          4 or 5: read and write the type codes of this OpenCV only (0: read both,
//                                    write those of 4)
//   FRAMELANE_LEGACY_BOXES           boxes that a stream can hold at once (1024)
//   FRAMELANE_LEGACY_BYTE_OFFSETS    every index counts bytes from the start of the mapping, as in the old
//                                    class
//   FRAMELANE_LEGACY_CHANNEL         a name: SendMat also publishes to this framelane channel (stream 1 to
//                                    NAME/1, …);
//                                    then link framelane
#ifndef FRAMELANE_LEGACY_SHAREMEMORY_H
#define FRAMELANE_LEGACY_SHAREMEMORY_H

#if __cplusplus < 201402L
#error "expected C++14: compile with -std=c++14 (with OpenCV 5 or FRAMELANE_LEGACY_CHANNEL: -std=c++17)"
#endif

#ifndef FRAME_NUMBER
#define FRAME_NUMBER 1
#endif
#ifndef FRAME_W
#define FRAME_W 1920
#endif
#ifndef FRAME_H
#define FRAME_H 1080
#endif
#ifndef FRAME_W_H
#define FRAME_W_H (FRAME_W * FRAME_H)
#endif
// Bytes of one stream's area, the header included.
#ifndef FRAME_SIZE
#define FRAME_SIZE (FRAME_W_H * 3 + sizeof(ImgInf))
#endif
#ifndef MEMORY_SIZE
#define MEMORY_SIZE (FRAME_NUMBER * FRAME_SIZE)
#endif
#ifndef FRAMELANE_LEGACY_NAME
#define FRAMELANE_LEGACY_NAME "ShareMedia"
#endif
#ifndef FRAMELANE_LEGACY_MODE
#define FRAMELANE_LEGACY_MODE 0600
#endif
#ifndef FRAMELANE_LEGACY_BOXES
#define FRAMELANE_LEGACY_BOXES 1024
#endif

#define INITSUCCESS 0
#define CREATEMAPFAILED 1
#define MAPVIEWFAILED 2

#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#if __has_include(<Windows.h>)
#include <Windows.h>
#endif

#include "detail/boxes.h"
#include "detail/frames.h"
#include "detail/mapping.h"
#include "detail/reader.h"
#include "detail/turns.h"

#ifdef FRAMELANE_LEGACY_CHANNEL
#include <framelane/opencv.hpp>
#endif

/// Frames, texts and boxes in a named mapping. Copies share it: it is unmapped once, with the last of them.
///
/// The mapping must belong to this user. It stays when the program ends, for late readers and for writers
/// that restart. `Remove` removes it. Several threads may call one object or its copies, each with its own
/// stream.
class SHAREDMEMORY {
 public:
  /// INITSUCCESS, CREATEMAPFAILED or MAPVIEWFAILED. With the last two, sending returns false and receiving
  /// an empty result.
  int state;

  explicit SHAREDMEMORY(const char* name = FRAMELANE_LEGACY_NAME) : state(INITSUCCESS), shared_(new Shared(name)) {
    switch (shared_->mapping.stage()) {
      case framelane::legacy::Stage::mapped: break;
      case framelane::legacy::Stage::not_created: state = CREATEMAPFAILED; break;
      case framelane::legacy::Stage::not_viewed: state = MAPVIEWFAILED; break;
    }
    const std::string& failure = shared_->mapping.failure();
    const std::string& found = failure.empty() ? shared_->mapping.warning() : failure;
    if (!found.empty()) shared_->say("the mapping " + shared_->name + " " + found);
  }

  /// Writes a frame of any type, also a region of a larger one. `index` is the stream: 0, 1, … (or '0', '1',
  /// …). A larger multiple of FRAME_NUMBER is what the old class takes it for: bytes from the start of the
  /// mapping. Returns false and writes nothing if the frame is empty or larger than FRAME_W x FRAME_H BGR
  /// pixels, or if the index is wrong. Waits while another thread or program that uses this header reads or
  /// writes: for up to 20 ms for a program.
  bool SendMat(cv::Mat image, char index) {
    using framelane::legacy::Written;
    const Area area = area_of(index);
    if (area.data == nullptr) return false;
    framelane::legacy::Wish::grant(shared_->mapping.file());
    Written written;
    {
      const std::unique_lock<std::mutex> turn = shared_->turns->take();
      written = framelane::legacy::write_frame(area.data, area.bytes, image);
      if (written == Written::yes) shared_->turns->wrote(offset_in_memory(area));
    }
    if (written == Written::too_large) {
      shared_->say("a frame of " + std::to_string(image.cols) + "x" + std::to_string(image.rows) + ", " +
                   std::to_string(image.total() * image.elemSize()) + " bytes, does not fit an area of " +
                   std::to_string(area.bytes) +
                   "\n  hint: define larger FRAME_W and FRAME_H in all programs");
    } else if (written == Written::no_type) {
      shared_->say(
          "a matrix of OpenCV type " + std::to_string(image.type()) + " has no type code in the mapping" +
          "\n  hint: convert it (cv::Mat::convertTo), or define FRAMELANE_LEGACY_OPENCV 5 in all programs");
    } else if (written == Written::yes) {
      note_overlap(area, image);
      note_ambiguity(image);
    }
    publish(image, area.number);
    return written == Written::yes;
  }

  /// The newest frame that is known to be whole, as a copy (spec/legacy.md says what shows it). Returns at
  /// once when nothing has changed or the writer is between two frames. Else it waits for up to 300 ms, then
  /// returns the frame before. Empty when there is no frame, when none was whole yet, and when the type code
  /// is not known.
  cv::Mat ReceiveMat(char index) {
    const Area area = area_of(index);
    if (area.data == nullptr) return cv::Mat();
    framelane::legacy::Reader* reader;
    {
      const std::lock_guard<std::mutex> lock(shared_->mutex);
      const std::size_t offset = offset_in_memory(area);
      std::unique_ptr<framelane::legacy::Reader>& place = shared_->readers[offset];
      if (!place) place.reset(new framelane::legacy::Reader(area.data, area.bytes, offset, shared_->mapping.file()));
      reader = place.get();
    }
    std::string report;
    const cv::Mat image = reader->read(report);
    if (!report.empty()) shared_->say(report);
    return image;
  }
  cv::Mat RecieveMat(char index) { return ReceiveMat(index); }

  /// Writes a text with its NUL, from the start of the mapping: over the header of stream 0. False when it
  /// does not fit.
  bool SendStr(const char text[]) {
    unsigned char* const memory = shared_->mapping.data();
    if (memory == nullptr) return false;
    const framelane::legacy::Written written =
        framelane::legacy::write_text(memory, shared_->mapping.bytes(), text);
    if (written == framelane::legacy::Written::too_large) {
      shared_->say("a text is longer than the mapping\n  hint: send a shorter one");
    }
    return written == framelane::legacy::Written::yes;
  }

  /// The text that is there, "" when there is none. The pointer stays valid while a copy of the object
  /// lives; the text behind it is that of the last call.
  char* ReceiveStr() {
    const unsigned char* const memory = shared_->mapping.data();
    std::string text;
    if (memory != nullptr) text = framelane::legacy::read_text(memory, shared_->mapping.bytes(), [] {});
    const std::lock_guard<std::mutex> lock(shared_->mutex);
    // Room for any text at once: the pointer given out before must not move. Pages are taken when they are
    // written.
    shared_->text.reserve(MEMORY_SIZE);
    shared_->text.assign(text);
    return &shared_->text[0];
  }
  char* RecieveStr() { return ReceiveStr(); }

  /// Writes the boxes of a stream's frame, in a separate mapping (NAME.boxes) that only this header
  /// uses. False when there are more than FRAMELANE_LEGACY_BOXES.
  bool SendVectorBox(const std::vector<TrackBox>& found, char index = 0) {
    framelane::legacy::Boxes* const boxes = boxes_of(index);
    if (boxes == nullptr) return false;
    const bool written = boxes->write(static_cast<std::size_t>(number_of(index)), found);
    if (!written && boxes->failure().empty()) {
      shared_->say(std::to_string(found.size()) +
                   " boxes do not fit\n  hint: define a larger FRAMELANE_LEGACY_BOXES in all programs");
    }
    return written;
  }
  bool SendBox(const TrackBox& box, char index = 0) { return SendVectorBox(std::vector<TrackBox>(1, box), index); }

  /// All boxes of one SendVectorBox; none when there are none.
  std::vector<TrackBox> RecieveVectorBox(char index = 0) {
    framelane::legacy::Boxes* const boxes = boxes_of(index);
    return boxes == nullptr ? std::vector<TrackBox>() : boxes->read(static_cast<std::size_t>(number_of(index)));
  }
  std::vector<TrackBox> ReceiveVectorBox(char index = 0) { return RecieveVectorBox(index); }

  /// The first of them; one of no size when there are none.
  TrackBox RecBox(char index = 0) {
    const std::vector<TrackBox> found = RecieveVectorBox(index);
    return found.empty() ? TrackBox() : found[0];
  }

  /// Removes the names of the mappings, if they belong to this user. Programs that have the memory keep it.
  /// Programs that come later get new memory.
  static void Remove(const char* name = FRAMELANE_LEGACY_NAME) {
    for (const std::string& one : {std::string(name), std::string(name) + ".boxes"}) {
      const std::string refusal = framelane::legacy::remove_mapping(one);
      if (!refusal.empty())
        std::cerr << "ShareMemory: cannot remove " << one << ": it " << refusal << std::endl;
    }
  }

 private:
  static constexpr std::size_t area_bytes = FRAME_SIZE;
  static_assert(MEMORY_SIZE >= FRAME_NUMBER * FRAME_SIZE, "every stream has an area");

  /// The area of a frame, without data if there is none. `number` identifies the stream.
  struct Area {
    unsigned char* data;
    std::size_t bytes;
    int number;
  };

  struct Shared {
    explicit Shared(const char* n) : name(n == nullptr ? "" : n), mapping(name, MEMORY_SIZE, FRAMELANE_LEGACY_MODE), turns(framelane::legacy::Turns::of(mapping.file())) {}

    /// Once for each message, as the same one would come with every frame.
    void say(const std::string& message) {
      const std::lock_guard<std::mutex> lock(mutex);
      constexpr std::size_t most = 20;
      if (said.size() == most || !said.insert(message).second) return;
      std::cerr << "ShareMemory: " << message << std::endl;
      if (said.size() == most) std::cerr << "ShareMemory: further messages are not shown" << std::endl;
    }

    std::string name;
    framelane::legacy::Mapping mapping;
    std::mutex mutex;
    std::unique_ptr<framelane::legacy::Boxes> boxes;
    std::shared_ptr<framelane::legacy::Turns> turns;
    std::string text;
    std::set<std::string> said;
    /// By offset in the memory.
    std::map<std::size_t, std::unique_ptr<framelane::legacy::Reader>> readers;
    /// Frames that were sent: offset and bytes.
    std::map<std::size_t, std::size_t> sent;
#ifdef FRAMELANE_LEGACY_CHANNEL
    std::map<int, std::unique_ptr<framelane::Publisher>> publishers;
#endif
  };

  /// The number of a stream; -1 when there is none. A digit counts as its number where it is no number of a
  /// stream.
  static int stream_of(char index) {
#ifdef FRAMELANE_LEGACY_BYTE_OFFSETS
    return index == 0 ? 0 : -1;
#else
    const int number = static_cast<int>(static_cast<signed char>(index));
    if (number >= 0 && number < FRAME_NUMBER) return number;
    const int digit = number - '0';
    return digit >= 0 && digit <= 9 && digit < FRAME_NUMBER ? digit : -1;
#endif
  }

  /// The bytes that an index of the old class counts; -1 when it is none. Callers of old pass `i *
  /// FRAME_NUMBER`.
  static int offset_of(char index) {
    const int number = static_cast<int>(static_cast<signed char>(index));
#ifdef FRAMELANE_LEGACY_BYTE_OFFSETS
    return number >= 0 ? number : -1;
#else
    return number >= FRAME_NUMBER && number % FRAME_NUMBER == 0 ? number : -1;
#endif
  }

  /// The stream, or the `i` of `i * FRAME_NUMBER`; -1 when the index is wrong.
  static int number_of(char index) {
    const int stream = stream_of(index);
    const int offset = offset_of(index);
    if (stream >= 0 || offset < 0) return stream;
    return offset % FRAME_NUMBER == 0 ? offset / FRAME_NUMBER : offset;
  }

  Area area_of(char index) {
    const Area none = {nullptr, 0, -1};
    const int stream = stream_of(index);
    const int offset = offset_of(index);
    if (stream < 0 && offset < 0) {
      refuse(index);
      return none;
    }
    if (shared_->mapping.data() == nullptr) return none;
    if (stream >= 0) {
      return {shared_->mapping.data() + static_cast<std::size_t>(stream) * area_bytes, area_bytes, stream};
    }
    const std::size_t start = static_cast<std::size_t>(offset);
    const std::size_t room = shared_->mapping.room() - start;
    return {shared_->mapping.data() + start, room < area_bytes ? room : area_bytes, number_of(index)};
  }

  std::size_t offset_in_memory(const Area& area) const {
    return static_cast<std::size_t>(area.data - shared_->mapping.data());
  }

  void refuse(char index) {
#ifdef FRAMELANE_LEGACY_BYTE_OFFSETS
    const std::string hint = "pass an offset of 0 to 127 bytes";
#else
    const std::string hint = "pass a stream from 0 to " + std::to_string(FRAME_NUMBER - 1) +
                             "; for byte offsets, as in the old class, define FRAMELANE_LEGACY_BYTE_OFFSETS";
#endif
    shared_->say("index " + std::to_string(static_cast<int>(index)) +
                 ": expected a stream or a byte offset\n  hint: " + hint);
  }

  /// Reports two frames that share memory: byte offsets reach 127 at most, so they do where an old program
  /// has several streams.
  void note_overlap(const Area& area, const cv::Mat& image) {
    const std::size_t start = offset_in_memory(area);
    const std::size_t bytes = sizeof(ImgInf) + image.total() * image.elemSize();
    std::size_t other = start;
    {
      const std::lock_guard<std::mutex> lock(shared_->mutex);
      shared_->sent[start] = bytes;
      for (const auto& one : shared_->sent) {
        if (one.first != start && one.first < start + bytes && start < one.first + one.second) other = one.first;
      }
    }
    if (other == start) return;
    shared_->say(
        "frames at byte " + std::to_string(other < start ? other : start) + " and byte " +
        std::to_string(other < start ? start : other) + " of the mapping overwrite each other" +
        "\n  hint: pass the stream alone, SendMat(frame, index), with FRAME_NUMBER streams, in all programs");
  }

  /// Reports a type that readers of both generations of OpenCV take for another one.
  void note_ambiguity(const cv::Mat& image) {
    using namespace framelane::legacy;
    if (chosen_opencv != OpenCv::automatic || image.channels() <= 4) return;
    const int code = code_of(own_element(image.type()), OpenCv::v4);
    if (element_in(image.cols, image.rows, code, area_bytes, OpenCv::automatic).channels == image.channels()) return;
    shared_->say("type " + std::to_string(code) + " is a matrix of " + std::to_string(image.channels()) +
                 " channels in OpenCV 4, and another one in OpenCV 5" +
                 "\n  hint: define FRAMELANE_LEGACY_OPENCV 4 in all programs");
  }

  framelane::legacy::Boxes* boxes_of(char index) {
    const int number = number_of(index);
    if (number < 0 || number >= FRAME_NUMBER) {
      shared_->say("boxes of index " + std::to_string(static_cast<int>(index)) +
                   ": expected a stream from 0 to " + std::to_string(FRAME_NUMBER - 1) +
                   "\n  hint: define a larger FRAME_NUMBER in all programs");
      return nullptr;
    }
    if (state != INITSUCCESS) return nullptr;
    std::unique_lock<std::mutex> lock(shared_->mutex);
    if (!shared_->boxes) {
      const std::string name = shared_->name + ".boxes";
      shared_->boxes.reset(new framelane::legacy::Boxes(name, FRAME_NUMBER, FRAMELANE_LEGACY_BOXES, FRAMELANE_LEGACY_MODE));
    }
    const std::string failure = shared_->boxes->failure();
    const std::string found = failure.empty() ? shared_->boxes->warning() : failure;
    lock.unlock();
    if (!found.empty()) shared_->say("the mapping " + shared_->name + ".boxes " + found);
    return shared_->boxes.get();
  }

#ifdef FRAMELANE_LEGACY_CHANNEL
  /// A channel that fails does not block the mapping.
  void publish(const cv::Mat& image, int number) {
    if (number < 0 || image.empty()) return;
    std::string fault;
    try {
      const std::lock_guard<std::mutex> lock(shared_->mutex);
      std::unique_ptr<framelane::Publisher>& publisher = shared_->publishers[number];
      if (!publisher) {
        const std::string channel = FRAMELANE_LEGACY_CHANNEL;
        publisher.reset(new framelane::Publisher(number == 0 ? channel : channel + "/" + std::to_string(number)));
      }
      framelane::publish(*publisher, image);
    } catch (const std::exception& error) {
      fault = error.what();
    }
    if (!fault.empty()) shared_->say("frames are not published: " + fault);
  }
#else
  void publish(const cv::Mat&, int) {}
#endif

  std::shared_ptr<Shared> shared_;
};

#endif
