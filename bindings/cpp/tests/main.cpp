// The tests' own channels, apart from those of the user.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include "limit.h"

#include <cstdlib>
#include <filesystem>
#include <iostream>

namespace {

/// Sets the limit of each test case.
struct Limits : doctest::IReporter {
  explicit Limits(const doctest::ContextOptions&) {}
  void report_query(const doctest::QueryData&) override {}
  void test_run_start() override {}
  void test_run_end(const doctest::TestRunStats&) override {}
  void test_case_start(const doctest::TestCaseData& test) override { limit_test(test.m_name); }
  void test_case_reenter(const doctest::TestCaseData&) override {}
  void test_case_end(const doctest::CurrentTestCaseStats&) override {}
  void test_case_exception(const doctest::TestCaseException&) override {}
  void subcase_start(const doctest::SubcaseSignature&) override {}
  void subcase_end() override {}
  void log_assert(const doctest::AssertData&) override {}
  void log_message(const doctest::MessageData&) override {}
  void test_case_skipped(const doctest::TestCaseData&) override {}
};

}  // namespace

REGISTER_LISTENER("limits", 1, Limits);

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
