// What an old program's sender and receiver share, written from the format alone (spec/legacy.md). No
// framelane here.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace stream {

const char answer[] = "recieved messages!";  // 18 bytes travel, not the NUL

// An address on this machine.
inline sockaddr_in local(int port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

[[noreturn]] inline void fail(const char* what) {
    std::perror(what);
    std::exit(1);
}

// All of the bytes, `step` of them with each system call.
inline void write(int socket, const char* bytes, std::size_t count, std::size_t step) {
    for (std::size_t at = 0; at < count;) {
        ssize_t sent = send(socket, bytes + at, std::min(step, count - at), MSG_NOSIGNAL);
        if (sent < 0) fail("send");
        at += static_cast<std::size_t>(sent);
    }
}

// So many bytes; false when the peer has gone before.
inline bool read(int socket, char* bytes, std::size_t count, std::size_t step) {
    for (std::size_t at = 0; at < count;) {
        ssize_t got = recv(socket, bytes + at, std::min(step, count - at), 0);
        if (got < 0) fail("recv");
        if (got == 0) return false;
        at += static_cast<std::size_t>(got);
    }
    return true;
}

}  // namespace stream
