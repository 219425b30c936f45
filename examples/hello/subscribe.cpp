// Prints what arrives in `hello`, until the publisher is done.
#include <framelane/framelane.hpp>

#include <iostream>

int main() {
  framelane::Subscriber subscriber("hello");
  for (const framelane::Frame& frame : subscriber) {
    std::cout << frame.sequence() << ": " << frame.width() << 'x' << frame.height() << " brightness "
              << +frame.data()[0] << std::endl;
  }
}
