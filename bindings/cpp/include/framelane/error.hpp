// Errors: one exception with a stable code.
// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once

#if (defined(_MSVC_LANG) ? _MSVC_LANG : __cplusplus) < 201703L
#error "framelane needs C++17: compile with -std=c++17 (MSVC: /std:c++17; CMake: CMAKE_CXX_STANDARD 17)"
#endif

#include <framelane.h>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>

namespace framelane {

/// Kind of an error. The numbers are the same in every language.
enum class Code : std::uint32_t {
  InvalidName = FRAMELANE_ERROR_INVALID_NAME,
  ChannelBusy = FRAMELANE_ERROR_CHANNEL_BUSY,
  NotFound = FRAMELANE_ERROR_NOT_FOUND,
  NoSpace = FRAMELANE_ERROR_NO_SPACE,
  PermissionDenied = FRAMELANE_ERROR_PERMISSION_DENIED,
  IncompatibleVersion = FRAMELANE_ERROR_INCOMPATIBLE_VERSION,
  Damaged = FRAMELANE_ERROR_DAMAGED,
  FrameTooLarge = FRAMELANE_ERROR_FRAME_TOO_LARGE,
  InvalidFrame = FRAMELANE_ERROR_INVALID_FRAME,
  TooManySubscribers = FRAMELANE_ERROR_TOO_MANY_SUBSCRIBERS,
  TooManyLeases = FRAMELANE_ERROR_TOO_MANY_LEASES,
  NoFreeSlot = FRAMELANE_ERROR_NO_FREE_SLOT,
  Timeout = FRAMELANE_ERROR_TIMEOUT,
  ChannelClosed = FRAMELANE_ERROR_CHANNEL_CLOSED,
  Interrupted = FRAMELANE_ERROR_INTERRUPTED,
  Forked = FRAMELANE_ERROR_FORKED,
  InvalidOption = FRAMELANE_ERROR_INVALID_OPTION,
  SystemFailure = FRAMELANE_ERROR_SYSTEM_FAILURE,
  InternalFailure = FRAMELANE_ERROR_INTERNAL_FAILURE,
  ChannelRemoved = FRAMELANE_ERROR_CHANNEL_REMOVED,
  Misuse = FRAMELANE_ERROR_MISUSE,
};

/// Exception of every failing call. It has a code for programs, a message and a hint for users.
///
/// Not named Error: OpenCV has a namespace of that name, and programs use both with `using namespace`.
class FramelaneError : public std::runtime_error {
 public:
  FramelaneError(Code code, const std::string& message, std::string hint = {})
      : std::runtime_error(hint.empty() ? message : message + ". Hint: " + hint),
        code_(code),
        hint_(std::move(hint)) {}

  /// The stable code.
  Code code() const noexcept { return code_; }

  /// The hint. Empty when there is none.
  const std::string& hint() const noexcept { return hint_; }

 private:
  Code code_;
  std::string hint_;
};

namespace inner {

/// A text of the C interface. Empty for NULL.
inline std::string text(const char* c) { return c == nullptr ? std::string() : std::string(c); }

/// A text for the C interface, where a NUL ends it. \throws FramelaneError `code` when there is one inside.
inline const char* c_text(const std::string& given, const char* what, Code code = Code::InvalidOption) {
  const std::size_t at = given.find('\0');
  if (at != std::string::npos) {
    throw FramelaneError(code,
                         std::string("expected ") + what + " without a NUL, found one at byte " +
                             std::to_string(at) + " of " + std::to_string(given.size()) + " behind \"" +
                             given.c_str() + "\"",
                         "end the text at the NUL, as std::string(text.c_str()) does");
  }
  return given.c_str();
}

/// The name of a channel, or a URL, for the C interface.
inline const char* c_channel(const std::string& channel) {
  return c_text(channel, "a channel name", Code::InvalidName);
}

/// A directory for the C interface: NULL for the usual one.
inline const char* c_directory(const std::string& directory) {
  return directory.empty() ? nullptr : c_text(directory, "a directory");
}

/// The handle of an object. \throws FramelaneError Misuse when the object has none.
template <class Owner>
auto* given(const Owner& handle, const char* what, const char* fate = "moved from") {
  if (handle == nullptr) {
    throw FramelaneError(Code::Misuse, std::string("expected a ") + what + ", found one that was " + fate,
                         "use the object that it was moved to, or make another");
  }
  return handle.get();
}

/// Throws the error that a call of the C interface returned, if any.
inline void check(framelane_error* error) {
  if (error == nullptr) return;
  struct Owner {
    framelane_error* error;
    ~Owner() { framelane_error_free(error); }
  } const owner{error};
  throw FramelaneError(static_cast<Code>(framelane_error_code(error)), framelane_error_message(error),
                       text(framelane_error_hint(error)));
}

}  // namespace inner
}  // namespace framelane
