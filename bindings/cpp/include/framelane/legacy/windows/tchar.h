// The few names of <tchar.h> that programs without wide characters use.
// SPDX-License-Identifier: MIT OR Apache-2.0
#ifndef FRAMELANE_LEGACY_TCHAR_H
#define FRAMELANE_LEGACY_TCHAR_H

typedef char TCHAR, _TCHAR;
#define _T(text) text
#define _TEXT(text) text
#define _tmain main
#define _tprintf printf

#endif
