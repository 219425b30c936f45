/* bcryptprimitives.dll for Wine 8, which lacks it. Rust's standard library reads random bytes from it. */
#include <windows.h>

BOOLEAN WINAPI SystemFunction036(void *bytes, ULONG count);

__declspec(dllexport) BOOL WINAPI ProcessPrng(unsigned char *bytes, SIZE_T count)
{
    const ULONG most = 1 << 20;
    while (count > 0) {
        ULONG part = count > most ? most : (ULONG)count;
        if (!SystemFunction036(bytes, part))
            return FALSE;
        bytes += part;
        count -= part;
    }
    return TRUE;
}
