// A reader as its users wrote it against the old header: the object by value, the window, the key that ends
// it.
#include "ShareMemory.h"
#include <iostream>
using namespace cv;
using namespace std;

#define INDEX 0

void show(SHAREDMEMORY sharedrec, string window)
{
    while (1)
    {
        Mat img = sharedrec.RecieveMat(INDEX * FRAME_NUMBER);
        if (img.empty())
        {
            if (waitKey(5) == 27)
                return;
            continue;
        }
        putText(img, "received", Point(20, FRAME_H - 20), FONT_HERSHEY_SIMPLEX, 1, Scalar(0, 0, 255), 2);
        imshow(window, img);
        if (waitKey(5) == 27)
            return;
    }
}

int main()
{
    SHAREDMEMORY sharedrec;
    if (sharedrec.state == CREATEMAPFAILED || sharedrec.state == MAPVIEWFAILED)
        return -1;
    show(sharedrec, "reader");
    return 0;
}
