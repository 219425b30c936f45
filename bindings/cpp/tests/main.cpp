// The tests' own channels, apart from those of the user.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <iostream>

int main(int argc, char** argv) {
  char name[] = "/dev/shm/framelane-cpp-tests-XXXXXX";
  if (mkdtemp(name) == nullptr) {
    std::cerr << "no directory for the tests in /dev/shm\n";
    return 1;
  }
  setenv("FRAMELANE_DIR", name, 1);
  const int failed = doctest::Context(argc, argv).run();
  // Channels that ended well leave nothing.
  const bool left = !std::filesystem::is_empty(name);
  if (left) std::cerr << "files were left in " << name << '\n';
  std::filesystem::remove_all(name);
  return failed != 0 || left ? 1 : 0;
}
