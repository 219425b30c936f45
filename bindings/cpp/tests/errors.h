// The errors that tests expect.
#pragma once

#include <framelane/framelane.hpp>

#include <cstdint>

/// Returns the code of the error that `call` throws, or 0 when it throws none.
template <class Call>
std::uint32_t code_of(Call call) {
  try {
    call();
  } catch (const framelane::FramelaneError& error) {
    return static_cast<std::uint32_t>(error.code());
  }
  return 0;
}
