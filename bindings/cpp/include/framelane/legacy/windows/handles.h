// Threads, events, mutexes and critical sections of the stand-in for <Windows.h>, within one process.
// SPDX-License-Identifier: MIT OR Apache-2.0
#ifndef FRAMELANE_LEGACY_HANDLES_H
#define FRAMELANE_LEGACY_HANDLES_H

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>

namespace framelane {
namespace windows {

/// What a handle stands for: something that is signalled or not. One lock for all, as waits are rare.
struct Object {
  virtual ~Object() = default;
  /// Whether a wait may end now; called with the lock held, and takes what a wait takes.
  virtual bool take() = 0;

  static std::mutex& lock() {
    static auto* const one = new std::mutex;
    return *one;
  }
  static std::condition_variable& changed() {
    static auto* const one = new std::condition_variable;
    return *one;
  }
};

/// Signalled when the thread has ended; lives on until it has.
struct ThreadObject final : Object {
  std::shared_ptr<bool> ended = std::make_shared<bool>(false);
  bool take() override { return *ended; }
};

struct EventObject final : Object {
  EventObject(bool manual, bool at_first) : manual_reset(manual), is_set(at_first) {}
  bool manual_reset, is_set;
  bool take() override {
    const bool was_set = is_set;
    if (!manual_reset) is_set = false;
    return was_set;
  }
};

struct MutexObject final : Object {
  explicit MutexObject(bool is_owned) : depth(is_owned ? 1 : 0), owner(std::this_thread::get_id()) {}
  int depth;
  std::thread::id owner;
  bool take() override {
    if (depth > 0 && owner != std::this_thread::get_id()) return false;
    owner = std::this_thread::get_id();
    ++depth;
    return true;
  }
};

}  // namespace windows
}  // namespace framelane

typedef framelane::windows::Object* HANDLE;
typedef DWORD(WINAPI* LPTHREAD_START_ROUTINE)(LPVOID);
typedef std::recursive_mutex CRITICAL_SECTION, *LPCRITICAL_SECTION;

#define INVALID_HANDLE_VALUE (reinterpret_cast<HANDLE>(static_cast<std::intptr_t>(-1)))
#define WAIT_OBJECT_0 0U
#define WAIT_TIMEOUT 258U
#define WAIT_FAILED 0xFFFFFFFFU

inline HANDLE CreateThread(LPVOID, SIZE_T, LPTHREAD_START_ROUTINE routine, LPVOID argument, DWORD, LPDWORD) {
  auto* const object = new framelane::windows::ThreadObject;
  std::thread([routine, argument, ended = object->ended] {
    routine(argument);
    const std::lock_guard<std::mutex> lock(framelane::windows::Object::lock());
    *ended = true;
    framelane::windows::Object::changed().notify_all();
  }).detach();
  return object;
}
inline HANDLE CreateEvent(LPVOID, BOOL manual_reset, BOOL is_set, LPCSTR) {
  return new framelane::windows::EventObject(manual_reset != FALSE, is_set != FALSE);
}
inline HANDLE CreateMutex(LPVOID, BOOL is_owned, LPCSTR) { return new framelane::windows::MutexObject(is_owned != FALSE); }

inline BOOL SetEvent(HANDLE handle) {
  auto* const event = dynamic_cast<framelane::windows::EventObject*>(handle);
  if (event == nullptr) return FALSE;
  const std::lock_guard<std::mutex> lock(framelane::windows::Object::lock());
  event->is_set = true;
  framelane::windows::Object::changed().notify_all();
  return TRUE;
}
inline BOOL ResetEvent(HANDLE handle) {
  auto* const event = dynamic_cast<framelane::windows::EventObject*>(handle);
  if (event == nullptr) return FALSE;
  const std::lock_guard<std::mutex> lock(framelane::windows::Object::lock());
  event->is_set = false;
  return TRUE;
}
inline BOOL ReleaseMutex(HANDLE handle) {
  auto* const mutex = dynamic_cast<framelane::windows::MutexObject*>(handle);
  if (mutex == nullptr) return FALSE;
  const std::lock_guard<std::mutex> lock(framelane::windows::Object::lock());
  if (mutex->depth == 0 || mutex->owner != std::this_thread::get_id()) return FALSE;
  if (--mutex->depth == 0) framelane::windows::Object::changed().notify_all();
  return TRUE;
}
inline DWORD WaitForSingleObject(HANDLE handle, DWORD milliseconds) {
  if (handle == nullptr || handle == INVALID_HANDLE_VALUE) return WAIT_FAILED;
  std::unique_lock<std::mutex> lock(framelane::windows::Object::lock());
  std::condition_variable& changed = framelane::windows::Object::changed();
  const auto taken = [&] { return handle->take(); };
  if (milliseconds == INFINITE) {
    changed.wait(lock, taken);
    return WAIT_OBJECT_0;
  }
  return changed.wait_for(lock, std::chrono::milliseconds(milliseconds), taken) ? WAIT_OBJECT_0 : WAIT_TIMEOUT;
}
/// A thread goes on without its handle.
inline BOOL CloseHandle(HANDLE handle) {
  if (handle == nullptr || handle == INVALID_HANDLE_VALUE) return FALSE;
  delete handle;
  return TRUE;
}

inline void InitializeCriticalSection(CRITICAL_SECTION*) {}
inline void DeleteCriticalSection(CRITICAL_SECTION*) {}
inline void EnterCriticalSection(CRITICAL_SECTION* section) { section->lock(); }
inline void LeaveCriticalSection(CRITICAL_SECTION* section) { section->unlock(); }

#endif
