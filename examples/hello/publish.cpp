// Publishes 100 frames in `hello`: each one brighter than the one before.
#include <framelane/framelane.hpp>

#include <algorithm>
#include <thread>

int main() {
  framelane::Publisher publisher("hello");
  for (int brightness = 0; brightness < 100; ++brightness) {
    auto loan = publisher.loan({framelane::Format::Bgr8, 640, 480});
    std::fill_n(loan.data(), loan.layout().size_bytes(), static_cast<std::uint8_t>(brightness));
    loan.publish();
    std::this_thread::sleep_for(std::chrono::milliseconds(33));
  }
}
