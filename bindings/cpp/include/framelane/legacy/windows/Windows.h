// A stand-in for <Windows.h> on Linux: what programs around the old ShareMemory.h use of it.
// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Put the folder of this file on the include path. Types have the sizes of Windows, text is of 8-bit
// characters, and `min` and `max` are no macros. Handles are threads, events and mutexes of this process:
// their names are not shared with other processes. Anything else of Windows does not compile.
#ifndef FRAMELANE_LEGACY_WINDOWS_H
#define FRAMELANE_LEGACY_WINDOWS_H

#ifdef _WIN32
#error "this is the stand-in for Linux: take legacy/windows off the include path on Windows"
#endif

#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <ctime>

#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "tchar.h"

typedef void *PVOID, *LPVOID, *HMODULE, *HINSTANCE, *HWND;
typedef const void* LPCVOID;
typedef unsigned char BYTE, UCHAR, BOOLEAN, *PBYTE, *LPBYTE;
typedef char CHAR, *PSTR, *LPSTR, *LPTSTR;
typedef const char *PCSTR, *LPCSTR, *LPCTSTR;
typedef wchar_t WCHAR, *LPWSTR;
typedef const wchar_t* LPCWSTR;
typedef short SHORT;
typedef unsigned short WORD, USHORT, *LPWORD;
typedef int INT, BOOL, *LPBOOL;
typedef unsigned int UINT;
typedef std::int32_t LONG, *PLONG;
typedef std::uint32_t DWORD, ULONG, *PDWORD, *LPDWORD;
typedef float FLOAT;
typedef std::int64_t LONGLONG, INT64, LONG64;
typedef std::uint64_t ULONGLONG, UINT64, DWORD64;
typedef std::size_t SIZE_T, ULONG_PTR, UINT_PTR, DWORD_PTR;
typedef union {
  struct {
    DWORD LowPart;
    LONG HighPart;
  } u;
  LONGLONG QuadPart;
} LARGE_INTEGER, *PLARGE_INTEGER;
typedef struct {
  WORD wYear, wMonth, wDayOfWeek, wDay, wHour, wMinute, wSecond, wMilliseconds;
} SYSTEMTIME, *LPSYSTEMTIME;

#ifndef TRUE
#define TRUE 1
#endif
#ifndef FALSE
#define FALSE 0
#endif
#ifndef MAX_PATH
#define MAX_PATH 260
#endif
#ifndef VOID
#define VOID void
#endif
#define TEXT(text) text
#define WINAPI
#define CALLBACK
#define APIENTRY
#define __int64 long long
#define INFINITE 0xFFFFFFFFU
#define ERROR_SUCCESS 0
#define ERROR_INVALID_HANDLE 6
#define ERROR_ALREADY_EXISTS 183
#define CP_UTF8 65001

#define ZeroMemory(to, bytes) std::memset((to), 0, (bytes))
#define FillMemory(to, bytes, value) std::memset((to), (value), (bytes))
#define CopyMemory(to, from, bytes) std::memcpy((to), (from), (bytes))
#define MoveMemory(to, from, bytes) std::memmove((to), (from), (bytes))

namespace framelane {
namespace windows {

/// Nanoseconds of the monotonic clock.
inline std::uint64_t now_ns() {
  timespec now;
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1000000000U + static_cast<std::uint64_t>(now.tv_nsec);
}

/// The last error of this thread.
inline DWORD& last_error() {
  static thread_local DWORD number = ERROR_SUCCESS;
  return number;
}

}  // namespace windows
}  // namespace framelane

/// Sleeps for so many milliseconds; INFINITE: for good.
inline void Sleep(DWORD milliseconds) {
  do {
    timespec rest = {static_cast<time_t>(milliseconds / 1000), static_cast<long>(milliseconds % 1000) * 1000000L};
    while (::nanosleep(&rest, &rest) != 0) {
    }
  } while (milliseconds == INFINITE);
}
inline ULONGLONG GetTickCount64() { return framelane::windows::now_ns() / 1000000U; }
inline DWORD GetTickCount() { return static_cast<DWORD>(GetTickCount64()); }
inline DWORD timeGetTime() { return GetTickCount(); }
inline BOOL QueryPerformanceCounter(LARGE_INTEGER* count) {
  count->QuadPart = static_cast<LONGLONG>(framelane::windows::now_ns());
  return TRUE;
}
inline BOOL QueryPerformanceFrequency(LARGE_INTEGER* per_second) {
  per_second->QuadPart = 1000000000;
  return TRUE;
}
inline void GetLocalTime(SYSTEMTIME* time) {
  timespec now;
  ::clock_gettime(CLOCK_REALTIME, &now);
  tm parts;
  ::localtime_r(&now.tv_sec, &parts);
  time->wYear = static_cast<WORD>(parts.tm_year + 1900);
  time->wMonth = static_cast<WORD>(parts.tm_mon + 1);
  time->wDayOfWeek = static_cast<WORD>(parts.tm_wday);
  time->wDay = static_cast<WORD>(parts.tm_mday);
  time->wHour = static_cast<WORD>(parts.tm_hour);
  time->wMinute = static_cast<WORD>(parts.tm_min);
  time->wSecond = static_cast<WORD>(parts.tm_sec);
  time->wMilliseconds = static_cast<WORD>(now.tv_nsec / 1000000);
}
inline DWORD GetLastError() { return framelane::windows::last_error(); }
inline void SetLastError(DWORD number) { framelane::windows::last_error() = number; }
inline DWORD GetCurrentProcessId() { return static_cast<DWORD>(::getpid()); }
inline DWORD GetCurrentThreadId() { return static_cast<DWORD>(::syscall(SYS_gettid)); }
inline void OutputDebugString(LPCSTR text) { std::fputs(text, stderr); }
inline void OutputDebugStringA(LPCSTR text) { std::fputs(text, stderr); }
/// Terminals of Linux take UTF-8; other code pages are refused.
inline BOOL SetConsoleOutputCP(UINT page) { return page == CP_UTF8; }
inline BOOL SetConsoleTitle(LPCSTR title) { return std::printf("\033]0;%s\007", title) > 0; }

/// `sprintf` that knows the size of its target; a text that is too long is cut.
template <std::size_t Bytes>
__attribute__((format(printf, 2, 3))) int sprintf_s(char (&to)[Bytes], const char* format, ...) {
  va_list values;
  va_start(values, format);
  const int length = std::vsnprintf(to, Bytes, format, values);
  va_end(values);
  return length;
}
__attribute__((format(printf, 3, 4))) inline int sprintf_s(char* to, std::size_t bytes, const char* format, ...) {
  va_list values;
  va_start(values, format);
  const int length = std::vsnprintf(to, bytes, format, values);
  va_end(values);
  return length;
}
inline int strcpy_s(char* to, std::size_t bytes, const char* from) {
  return std::snprintf(to, bytes, "%s", from) < static_cast<int>(bytes) ? 0 : 34;
}
template <std::size_t Bytes>
int strcpy_s(char (&to)[Bytes], const char* from) {
  return strcpy_s(to, Bytes, from);
}

#include "handles.h"

#endif
