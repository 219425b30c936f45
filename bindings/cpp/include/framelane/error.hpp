// Errors: one exception with a stable code.
// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once

#include <framelane.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace framelane {

/// Why a call failed; the numbers are those of every language.
enum class Code : std::uint32_t {
  InvalidName = FRAMELANE_ERROR_INVALID_NAME,
  ChannelBusy = FRAMELANE_ERROR_CHANNEL_BUSY,
  NotFound = FRAMELANE_ERROR_NOT_FOUND,
  NoSpace = FRAMELANE_ERROR_NO_SPACE,
  Permission = FRAMELANE_ERROR_PERMISSION,
  LayoutVersion = FRAMELANE_ERROR_LAYOUT_VERSION,
  Damaged = FRAMELANE_ERROR_DAMAGED,
  FrameTooLarge = FRAMELANE_ERROR_FRAME_TOO_LARGE,
  InvalidFrame = FRAMELANE_ERROR_INVALID_FRAME,
  TooManySubscribers = FRAMELANE_ERROR_TOO_MANY_SUBSCRIBERS,
  TooManyLeases = FRAMELANE_ERROR_TOO_MANY_LEASES,
  NoFreeSlot = FRAMELANE_ERROR_NO_FREE_SLOT,
  Timeout = FRAMELANE_ERROR_TIMEOUT,
  Closed = FRAMELANE_ERROR_CLOSED,
  Interrupted = FRAMELANE_ERROR_INTERRUPTED,
  Forked = FRAMELANE_ERROR_FORKED,
  InvalidOption = FRAMELANE_ERROR_INVALID_OPTION,
  Io = FRAMELANE_ERROR_IO,
  Internal = FRAMELANE_ERROR_INTERNAL,
  ChannelRemoved = FRAMELANE_ERROR_CHANNEL_REMOVED,
};

/// What every failing call throws: a code for programs; what was expected, found and is to be done, for people.
class Error : public std::runtime_error {
 public:
  Error(Code code, const std::string& message, std::string remedy = {})
      : std::runtime_error(remedy.empty() ? message : message + ". Remedy: " + remedy),
        code_(code),
        remedy_(std::move(remedy)) {}

  /// The stable code.
  Code code() const noexcept { return code_; }

  /// What to do about it; empty when there is nothing.
  const std::string& remedy() const noexcept { return remedy_; }

 private:
  Code code_;
  std::string remedy_;
};

namespace detail {

/// A text of the C interface; empty for NULL, which an object that was moved from gives.
inline std::string text(const char* text) { return text == nullptr ? std::string() : std::string(text); }

/// Whether a call failed with `code`; then the error is freed. Other errors are left alone.
inline bool failed_with(framelane_error*& error, Code code) noexcept {
  if (framelane_error_code(error) != static_cast<std::uint32_t>(code)) return false;
  framelane_error_free(error);
  error = nullptr;
  return true;
}

/// Throws what a call of the C interface gave.
inline void check(framelane_error* error) {
  if (error == nullptr) return;
  struct Free {
    framelane_error* error;
    ~Free() { framelane_error_free(error); }
  } const free{error};
  const char* remedy = framelane_error_remedy(error);
  throw Error(static_cast<Code>(framelane_error_code(error)), framelane_error_message(error),
              remedy == nullptr ? "" : remedy);
}

}  // namespace detail
}  // namespace framelane
