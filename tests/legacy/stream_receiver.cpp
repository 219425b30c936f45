// An old receiver at 127.0.0.1:PORT (0: any): prints the port; takes length and JPEG, answers, prints the
// length.
//
//     stream_receiver PORT STEP [FOLDER]
//
// STEP: bytes for each system call, in both directions; 1 as the programs in the field have it. FOLDER: where
// each JPEG is written, as 0.jpg, 1.jpg, … before it is answered.
#include <cstdint>
#include <fstream>
#include <vector>

#include "stream.h"

int main(int count, char** arguments) {
    if (count < 3) {
        std::fprintf(stderr, "usage: stream_receiver PORT STEP [FOLDER]\n");
        return 2;
    }
    const std::size_t step = std::strtoul(arguments[2], nullptr, 10);
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address = stream::local(std::atoi(arguments[1]));
    socklen_t size = sizeof address;
    if (bind(listener, reinterpret_cast<sockaddr*>(&address), size) != 0) stream::fail("bind");
    if (listen(listener, 1) != 0) stream::fail("listen");
    getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size);
    std::printf("%d\n", ntohs(address.sin_port));
    std::fflush(stdout);
    int connection = accept(listener, nullptr, nullptr);
    if (connection < 0) stream::fail("accept");
    char line[17] = {};
    for (int number = 0; stream::read(connection, line, 16, step); ++number) {
        std::vector<char> jpeg(std::strtoul(line, nullptr, 10));
        if (!stream::read(connection, jpeg.data(), jpeg.size(), step)) break;
        if (count > 3) {
            std::ofstream file(std::string(arguments[3]) + "/" + std::to_string(number) + ".jpg", std::ios::binary);
            file.write(jpeg.data(), static_cast<std::streamsize>(jpeg.size()));
        }
        std::printf("%zu\n", jpeg.size());
        std::fflush(stdout);
        stream::write(connection, stream::answer, sizeof stream::answer - 1, step);
    }
    close(connection);
    close(listener);
}
