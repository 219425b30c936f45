// A program as its users wrote it, against the old class: no namespace, the class passed by value, `char`
// streams. It is compiled as it is, and must stay so. (Its mapping's name comes from the build; the old one
// had it built in.)
#include "ShareMemory.h"
#include <opencv2/opencv.hpp>
#include <cstdio>
using namespace cv;
using namespace std;

static void sendAll(SHAREDMEMORY sharedMemory, Mat image, int frames)
{
    for (char i = 0; i < FRAME_NUMBER; i++)
        for (int n = 0; n < frames; n++)
            sharedMemory.SendMat(image, i);
}

static Mat showAll(SHAREDMEMORY sharedMemory)
{
    Mat last;
    for (char i = 0; i < FRAME_NUMBER; i++)
        last = sharedMemory.RecieveMat(i);
    return last;
}

int oldProgram()
{
    SHAREDMEMORY sharedMemory;
    if (sharedMemory.state != INITSUCCESS)
    {
        printf("init failed: %d (%d, %d)\n", sharedMemory.state, CREATEMAPFAILED, MAPVIEWFAILED);
        return 1;
    }
    Mat image(FRAME_H, FRAME_W, CV_8UC3, Scalar(1, 2, 3));
    sendAll(sharedMemory, image, 3);
    Mat seen = showAll(sharedMemory);
    if (seen.rows != FRAME_H || seen.cols != FRAME_W || seen.type() != CV_8UC3 || MEMORY_SIZE < FRAME_SIZE || FRAME_W_H <= 0)
        return 2;
    sharedMemory.SendStr("hello from the old program");
    char *text = sharedMemory.RecieveStr();
    string again = sharedMemory.ReceiveStr();
    if (again != "hello from the old program" || string(text).empty())
        return 3;
    TrackBox box(1, 2, 3, 4);
    vector<TrackBox> boxes(2, box);
    sharedMemory.SendBox(box);
    if (sharedMemory.RecBox().width != 3)
        return 4;
    sharedMemory.SendVectorBox(boxes);
    if (sharedMemory.RecieveVectorBox().size() != 2)
        return 5;
    ImgInf info = {1, 2, 3};
    return info.height == 2 ? 0 : 6;
}
