// Skips of C++ tests, as the crate next to this file has them for Rust.
#pragma once

#include <doctest/doctest.h>

#include <cstdlib>
#include <fstream>
#include <string>

/// Logs a skip for `need`. Returns whether the test may be skipped.
inline bool log_skip(const std::string& need, const std::string& test, const std::string& reason) {
  const auto variable = [](const char* name) {
    const char* const value = std::getenv(name);
    return std::string(value == nullptr ? "" : value);
  };
  const std::string log = variable("FRAMELANE_SKIP_LOG");
  if (!log.empty()) std::ofstream(log, std::ios::app) << need + "\t" + test + "\t" + reason + "\n";
  const std::string allowed = "," + variable("FRAMELANE_MAY_LACK") + ",";
  return variable("FRAMELANE_REQUIRE_ALL") != "1" || allowed.find("," + need + ",") != std::string::npos;
}

/// Reports that the running test lacks `need` and is skipped for `reason`. With FRAMELANE_REQUIRE_ALL=1 the
/// test fails instead, unless the comma-separated list FRAMELANE_MAY_LACK contains the need.
#define SKIP(need, reason)                                                                            \
  do {                                                                                                \
    const bool may_skip = log_skip(need, doctest::getContextOptions()->currentTest->m_name, reason); \
    MESSAGE("skipped: " << reason);                                                                   \
    if (!may_skip) FAIL("cannot skip: FRAMELANE_REQUIRE_ALL is set; it needs " need);                 \
  } while (false)
