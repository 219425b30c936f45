// The messages of the drop-in, which go to standard error.
#pragma once

#include <iostream>
#include <sstream>
#include <string>

class Messages {
 public:
  Messages() : before_(std::cerr.rdbuf(text_.rdbuf())) {}
  ~Messages() { std::cerr.rdbuf(before_); }
  Messages(const Messages&) = delete;

  bool contain(const std::string& words) const { return text_.str().find(words) != std::string::npos; }
  std::string text() const { return text_.str(); }
  int count(const std::string& words) const {
    int found = 0;
    const std::string all = text_.str();
    for (std::size_t at = 0; (at = all.find(words, at)) != std::string::npos; ++at) ++found;
    return found;
  }

 private:
  std::ostringstream text_;
  std::streambuf* before_;
};
