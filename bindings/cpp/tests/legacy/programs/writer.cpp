// A writer as its users wrote it against the old header, which brought OpenCV along. It is compiled as it is.
#include <iostream>
#include "ShareMemory.h"
using namespace cv;
using namespace std;

int main(int argc, char** argv)
{
    SHAREDMEMORY sharedsend;
    if (sharedsend.state != INITSUCCESS)
    {
        cout << "init failed " << sharedsend.state << endl;
        return 1;
    }
    VideoCapture cap(argc > 1 ? argv[1] : "test.avi");
    if (!cap.isOpened())
        return 2;
    cout << "mapping of " << MEMORY_SIZE << " bytes, " << FRAME_SIZE << " each" << endl;
    Mat frame;
    char index = 0;
    int count = 0;
    while (1)
    {
        cap >> frame;
        if (frame.empty())
            break;
        resize(frame, frame, Size(FRAME_W, FRAME_H));
        putText(frame, to_string(++count), Point(20, 60), FONT_HERSHEY_SIMPLEX, 2, Scalar(0, 255, 0), 3);
        sharedsend.SendMat(frame, index * FRAME_NUMBER);
        if (waitKey(1) == 27)
            break;
    }
    destroyAllWindows();
    return 0;
}
