// A program of Windows as its users wrote it: a thread that sends, timed and paced, and the offsets of the
// old macros.
#include <Windows.h>
#include <tchar.h>
#include <iostream>
#include "ShareMemory.h"
using namespace std;
using namespace cv;

static HANDLE hEvent = NULL;
static CRITICAL_SECTION section;
static BOOL running = TRUE;

DWORD WINAPI SendThread(LPVOID lpParam)
{
    SHAREDMEMORY* shared = (SHAREDMEMORY*)lpParam;
    Mat frame(FRAME_H, FRAME_W, CV_8UC3, Scalar(10, 20, 30));
    for (BYTE n = 0; n < 3; n++)
    {
        EnterCriticalSection(&section);
        char text[32];
        sprintf_s(text, "frame %d", (int)n);
        putText(frame, text, Point(10, 40), FONT_HERSHEY_SIMPLEX, 1, Scalar::all(255));
        shared->SendMat(frame, 0);
        LeaveCriticalSection(&section);
        Sleep(1);
    }
    SetEvent(hEvent);
    return 0;
}

int _tmain(int argc, _TCHAR* argv[])
{
    (void)argc, (void)argv;
    LARGE_INTEGER frequency, start, end;
    QueryPerformanceFrequency(&frequency);
    QueryPerformanceCounter(&start);
    DWORD ticks = GetTickCount();
    SHAREDMEMORY shared;
    if (shared.state != INITSUCCESS)
    {
        cout << _T("failed: ") << GetLastError() << endl;
        return 1;
    }
    InitializeCriticalSection(&section);
    hEvent = CreateEvent(NULL, TRUE, FALSE, NULL);
    HANDLE hThread = CreateThread(NULL, 0, SendThread, &shared, 0, NULL);
    if (WaitForSingleObject(hEvent, INFINITE) != WAIT_OBJECT_0 || WaitForSingleObject(hThread, INFINITE) != WAIT_OBJECT_0)
        return 2;
    CloseHandle(hThread);
    CloseHandle(hEvent);
    DeleteCriticalSection(&section);
    QueryPerformanceCounter(&end);
    double seconds = (double)(end.QuadPart - start.QuadPart) / frequency.QuadPart;
    Mat seen = shared.ReceiveMat(0);
    BYTE* buffer = new BYTE[FRAME_SIZE];
    ZeroMemory(buffer, FRAME_SIZE);
    memcpy(buffer + sizeof(ImgInf), seen.data, FRAME_SIZE - sizeof(ImgInf));
    bool same = buffer[FRAME_SIZE - 1] == 30 && FRAME_SIZE == FRAME_W_H * 3 + sizeof(ImgInf) && MEMORY_SIZE == FRAME_NUMBER * FRAME_SIZE;
    delete[] buffer;
    if (WaitForSingleObject(NULL, 0) != WAIT_FAILED || GetTickCount() < ticks)
        return 4;
    return running && same && seconds > 0 && sizeof(DWORD) == 4 && sizeof(LONG) == 4 ? 0 : 3;
}
