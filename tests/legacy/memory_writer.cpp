// An old program's writer, written from the format alone (spec/legacy.md). No framelane here.
//
//   memory_writer NAME WIDTH HEIGHT PAUSE_US drawn|prepared
//
// Copies BGR frames over each other, header first, until it is killed. Each frame repeats its number in words
// of 4 bytes through all of its rows, so that a torn frame shows. `drawn` draws each frame before its copy,
// as programs do; `prepared` copies eight frames that were drawn before, in turn, without a pause but
// PAUSE_US.
#include <fcntl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

static void draw(std::vector<unsigned char>& pixels, std::uint32_t number) {
  for (std::size_t at = 0; at < pixels.size(); at += sizeof number) {
    std::memcpy(&pixels[at], &number, std::min(sizeof number, pixels.size() - at));
  }
}

int main(int argc, char** argv) {
  if (argc != 6) return 2;
  const int width = std::atoi(argv[2]), height = std::atoi(argv[3]);
  const long pause_us = std::atol(argv[4]);
  const bool is_drawn = std::string(argv[5]) == "drawn";
  const std::size_t bytes = static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * 3;
  const int file = shm_open(("/" + std::string(argv[1])).c_str(), O_CREAT | O_RDWR, 0600);
  if (file < 0 || ftruncate(file, static_cast<off_t>(bytes + 12)) != 0) return 1;
  void* const memory = mmap(nullptr, bytes + 12, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (memory == MAP_FAILED) return 1;
  close(file);
  std::vector<std::vector<unsigned char>> frames(8, std::vector<unsigned char>(bytes));
  std::uint32_t number = 0;
  for (std::vector<unsigned char>& frame : frames) draw(frame, ++number);
  const std::int32_t header[3] = {width, height, 16};
  for (number = 1;; ++number) {
    std::vector<unsigned char>& frame = frames[number % 8];
    if (is_drawn) draw(frame, number);
    std::memcpy(memory, header, sizeof header);
    std::memcpy(static_cast<unsigned char*>(memory) + sizeof header, frame.data(), bytes);
    if (number == 1) std::printf("writing\n"), std::fflush(stdout);
    if (pause_us > 0) {
      const timespec pause = {pause_us / 1000000, pause_us % 1000000 * 1000};
      nanosleep(&pause, nullptr);
    }
  }
}
