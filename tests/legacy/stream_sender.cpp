// An old sender: JPEG files to 127.0.0.1:PORT, each after 16 bytes of length; prints the answers.
//
//     stream_sender PORT STEP ROUNDS FILE...
//
// STEP: bytes for each system call, in both directions; 1 as the programs in the field have it. All files,
// ROUNDS times.
#include <algorithm>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <vector>

#include "stream.h"

int main(int count, char** arguments) {
    if (count < 5) {
        std::fprintf(stderr, "usage: stream_sender PORT STEP ROUNDS FILE...\n");
        return 2;
    }
    const std::size_t step = std::strtoul(arguments[2], nullptr, 10);
    std::vector<std::string> jpegs;
    for (int at = 4; at < count; ++at) {
        std::ifstream file(arguments[at], std::ios::binary);
        jpegs.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
    }
    int connection = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address = stream::local(std::atoi(arguments[1]));
    if (connect(connection, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) stream::fail("connect");
    for (int round = std::atoi(arguments[3]); round > 0; --round) {
        for (const std::string& jpeg : jpegs) {
            std::string message = std::to_string(jpeg.size());
            message.resize(16, ' ');
            message += jpeg;
            stream::write(connection, message.data(), message.size(), step);
            // Up to 32 bytes are read; 18 come.
            char bytes[33] = {};
            if (!stream::read(connection, bytes, sizeof stream::answer - 1, std::min<std::size_t>(step, 32))) {
                std::fprintf(stderr, "the receiver has closed the connection\n");
                return 1;
            }
            std::printf("%s\n", bytes);
            std::fflush(stdout);
        }
    }
    close(connection);
}
