// Cancellation of waits.
// SPDX-License-Identifier: MIT OR Apache-2.0
#pragma once

#include <framelane/error.hpp>

#include <exception>
#include <functional>
#include <memory>
#include <utility>

namespace framelane {
namespace inner {

/// One call that may wait, in its thread. Stores an exception of the token's check until the call into C has
/// returned.
class Call {
 public:
  Call() noexcept : outer_(std::exchange(innermost(), this)) {}
  ~Call() { innermost() = outer_; }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  /// Throws what the check threw, or the error.
  void check(framelane_error* error) const {
    if (error != nullptr && thrown_) {
      framelane_error_free(error);
      std::rethrow_exception(thrown_);
    }
    inner::check(error);
  }

  /// True when the call failed with `code`. Then the error is freed. Other errors are left alone.
  bool failed_with(framelane_error*& error, Code code) const noexcept {
    if (thrown_ || framelane_error_code(error) != static_cast<std::uint32_t>(code)) return false;
    framelane_error_free(error);
    error = nullptr;
    return true;
  }

  /// Runs the check of a token for C. `context` is the function.
  static int run(void* context) noexcept {
    try {
      return (*static_cast<std::function<bool()>*>(context))() ? 1 : 0;
    } catch (...) {
      if (Call* call = innermost()) call->thrown_ = std::current_exception();
      return 1;
    }
  }

  /// Destroys the check of a token for C.
  static void release(void* context) noexcept { delete static_cast<std::function<bool()>*>(context); }

 private:
  /// The call that this thread is in.
  static Call*& innermost() noexcept {
    static thread_local Call* call = nullptr;
    return call;
  }

  Call* const outer_;
  std::exception_ptr thrown_;
};

}  // namespace inner

/// Cancels the waits of objects: see PublisherOptions::cancel and SubscriberOptions::cancel. Copies are one
/// token, and any number of objects may share it.
///
///     framelane::CancelToken cancel;
///     framelane::SubscriberOptions options;
///     options.cancel = cancel;
///     framelane::Subscriber subscriber("cam0", options);
///     cancel.cancel();                                    // from another thread or a signal handler
class CancelToken {
 public:
  /// A token that is not cancelled.
  CancelToken() : token_(framelane_cancel_token_new(), &framelane_cancel_token_free) {}

  /// A token with a check. A call that waits runs it at least twice a second and after each signal, in its
  /// thread, and ends with Code::Interrupted when it returns true. The token is not cancelled by that.
  ///
  /// The call that waits throws the exceptions of the check. The check may read counters and `close` the
  /// object. Other calls of the waiting object fail with Code::Misuse. The check is destroyed with the last
  /// copy of the token and the last object that was opened with it. \throws FramelaneError InvalidOption for
  /// an empty function.
  explicit CancelToken(std::function<bool()> check) {
    auto owned = check ? std::make_unique<std::function<bool()>>(std::move(check)) : nullptr;
    framelane_cancel_token* made = nullptr;
    inner::check(framelane_cancel_token_with_check(owned ? &inner::Call::run : nullptr, owned.get(),
                                                   &inner::Call::release, &made));
    (void)owned.release();
    token_.reset(made, &framelane_cancel_token_free);
  }

  /// Cancels the token permanently. Every call that would wait then ends with Code::Interrupted. A waiting
  /// call does so within half a second. Calls that need not wait still succeed. Never blocks. Any thread and
  /// signal handlers may call it.
  void cancel() const noexcept { framelane_cancel_token_cancel(token_.get()); }

  /// Returns true after `cancel`. Does not run the check.
  bool is_cancelled() const noexcept { return framelane_cancel_token_is_cancelled(token_.get()) != 0; }

  /// The handle of the C interface, still owned by this object.
  framelane_cancel_token* c() const noexcept { return token_.get(); }

 private:
  std::shared_ptr<framelane_cancel_token> token_;
};

}  // namespace framelane
