// Objects that are closed or destroyed while a call waits, and what the check of a cancel token may do.
#include <doctest/doctest.h>
#include <framelane/framelane.hpp>

#include <atomic>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>

#include "errors.h"

using framelane::Code;
using framelane::Format;
using framelane::FramelaneError;
using namespace std::chrono_literals;

/// Set by a call that waits, in the check of its token.
struct Waiting {
  std::atomic<bool> asked{false};
  std::function<bool()> check() {
    return [this] {
      asked = true;
      return false;
    };
  }
  void until() const {
    while (!asked) std::this_thread::yield();
  }
};

static framelane::PublisherOptions two_slots(std::function<bool()> check) {
  framelane::PublisherOptions options;
  options.slots = 2;
  options.backpressure = framelane::Backpressure::Block;
  options.cancel = framelane::CancelToken(std::move(check));
  return options;
}

static framelane::SubscriberOptions asking(std::function<bool()> check) {
  framelane::SubscriberOptions options;
  options.cancel = framelane::CancelToken(std::move(check));
  return options;
}

TEST_CASE("publisher_closed_beside_a_waiting_loan_ends_it") {
  Waiting waiting;
  framelane::Publisher publisher("close", two_slots(waiting.check()));
  auto first = publisher.loan({Format::Gray8, 1, 1});
  auto second = publisher.loan({Format::Gray8, 1, 1});
  std::uint32_t outcome = 0;
  std::thread thread([&] { outcome = code_of([&] { publisher.loan({Format::Gray8, 1, 1}); }); });
  waiting.until();
  publisher.close();
  framelane::Publisher again("close");  // The name is free.
  thread.join();
  CHECK(outcome == FRAMELANE_ERROR_CHANNEL_CLOSED);
  CHECK(code_of([&] { first.publish(); }) == FRAMELANE_ERROR_CHANNEL_CLOSED);
  CHECK(code_of([&] { publisher.drain(); }) == FRAMELANE_ERROR_CHANNEL_CLOSED);
  CHECK((publisher.channel() == "close" && publisher.subscribers() == 0));
}

TEST_CASE("drain_waits_for_subscribers_and_destructor_does_not") {
  framelane::SubscriberOptions every;
  every.delivery = framelane::Delivery::Every;
  std::optional<framelane::Subscriber> subscriber;
  {
    framelane::PublisherOptions block;
    block.backpressure = framelane::Backpressure::Block;
    framelane::Publisher publisher("drain", block);
    subscriber.emplace("drain", every);
    publisher.drain(std::chrono::seconds(0));
    publisher.loan({Format::Gray8, 1, 1}).publish();
    CHECK(code_of([&] { publisher.drain(std::chrono::milliseconds(1)); }) == FRAMELANE_ERROR_TIMEOUT);
    CHECK(subscriber->recv().sequence() == 1);
    publisher.drain();
    publisher.loan({Format::Gray8, 1, 1}).publish();
    // A destructor that waited would never end: nothing is received meanwhile.
  }
  CHECK(subscriber->recv().sequence() == 2);
  CHECK(code_of([&] { subscriber->recv(); }) == FRAMELANE_ERROR_CHANNEL_CLOSED);
}

TEST_CASE("subscriber_closed_beside_a_loop_ends_it") {
  Waiting waiting;
  framelane::Publisher publisher("close");
  framelane::Subscriber subscriber("close", asking(waiting.check()));
  publisher.loan({Format::Gray8, 1, 1}).publish();
  int frames = 0;
  std::thread thread([&] {
    for (framelane::Frame& frame : subscriber) frames += static_cast<int>(frame.width());
  });
  waiting.until();
  subscriber.close();
  thread.join();
  CHECK((frames == 1 && publisher.subscribers() == 0));
  CHECK(code_of([&] { subscriber.try_recv(); }) == FRAMELANE_ERROR_CHANNEL_CLOSED);
  subscriber.close();
}

TEST_CASE("object_destroyed_beside_a_waiting_call_ends_it") {
  Waiting receiving, finding;
  auto finder = std::make_unique<framelane::DetectionPublisher>("close/detections");
  framelane::Publisher publisher("close");
  auto subscriber = std::make_unique<framelane::Subscriber>("close", asking(receiving.check()));
  auto found = std::make_unique<framelane::DetectionSubscriber>("close/detections", asking(finding.check()));
  std::uint32_t received = 0, answered = 0;
  std::thread first([&, raw = subscriber.get()] { received = code_of([&] { raw->recv(); }); });
  std::thread second([&, raw = found.get()] { answered = code_of([&] { raw->answer(1, 1); }); });
  receiving.until();
  finding.until();
  subscriber.reset();
  found.reset();
  first.join();
  second.join();
  CHECK((received == FRAMELANE_ERROR_CHANNEL_CLOSED && answered == FRAMELANE_ERROR_CHANNEL_CLOSED));
}

TEST_CASE("call_from_the_check_is_misuse_and_counters_are_not") {
  framelane::Publisher publisher("nested");
  std::optional<framelane::Subscriber> subscriber;
  std::uint32_t nested = 0;
  bool alive = false;
  subscriber.emplace("nested", asking([&] {
    alive = subscriber->publisher_alive() && subscriber->epoch() == publisher.epoch() && subscriber->received() == 0;
    nested = code_of([&] { subscriber->try_recv(); });
    return true;
  }));
  CHECK(code_of([&] { subscriber->recv(); }) == FRAMELANE_ERROR_INTERRUPTED);
  CHECK((nested == FRAMELANE_ERROR_MISUSE && alive));
  publisher.loan({Format::Gray8, 1, 1}).publish();
  CHECK(subscriber->recv().sequence() == 1);
}

TEST_CASE("close_or_destruction_in_the_check_ends_the_call") {
  framelane::Publisher publisher("nested");
  std::unique_ptr<framelane::Subscriber> subscriber;
  const auto open = [&](std::function<void()> act) {
    subscriber = std::make_unique<framelane::Subscriber>("nested", asking([act] {
      act();
      return false;
    }));
    return subscriber.get();
  };
  framelane::Subscriber* raw = open([&] { subscriber->close(); });
  CHECK(code_of([&] { raw->recv(); }) == FRAMELANE_ERROR_CHANNEL_CLOSED);
  raw = open([&] { subscriber.reset(); });
  CHECK(code_of([&] { raw->recv(); }) == FRAMELANE_ERROR_CHANNEL_CLOSED);
  CHECK(publisher.subscribers() == 0);
}

TEST_CASE("calls_that_cross_in_checks_do_not_deadlock") {
  framelane::Publisher publisher("cross");
  std::unique_ptr<framelane::Subscriber> one, other;
  std::atomic<bool> one_waits{false}, other_waits{false};
  const auto meet = [&](std::atomic<bool>& mine, std::atomic<bool>& theirs, std::unique_ptr<framelane::Subscriber>& next) {
    return [&mine, &theirs, &next] {
      mine = true;
      while (!theirs) std::this_thread::yield();
      next->recv(60s);
      return false;
    };
  };
  one = std::make_unique<framelane::Subscriber>("cross", asking(meet(one_waits, other_waits, other)));
  other = std::make_unique<framelane::Subscriber>("cross", asking(meet(other_waits, one_waits, one)));
  std::uint32_t outcomes[2] = {};
  std::thread first([&] { outcomes[0] = code_of([&] { one->recv(); }); });
  std::thread second([&] { outcomes[1] = code_of([&] { other->recv(); }); });
  first.join();
  second.join();
  // At least one meets the other in its call. The one that is free by then is waited for by `recv`, and
  // closed.
  CHECK((outcomes[0] == FRAMELANE_ERROR_MISUSE || outcomes[1] == FRAMELANE_ERROR_MISUSE));
}

TEST_CASE("exception_of_a_check_belongs_to_its_call") {
  framelane::Publisher publisher("thrown");
  bool angry = true;
  framelane::Subscriber subscriber("thrown", asking([&]() -> bool {
    if (angry) throw std::runtime_error("mine");
    return true;
  }));
  CHECK_THROWS_WITH_AS(subscriber.recv(), "mine", std::runtime_error);
  angry = false;
  CHECK(code_of([&] { subscriber.recv(); }) == FRAMELANE_ERROR_INTERRUPTED);
  CHECK(!subscriber.try_recv());
  // Two threads, one of which throws: each gets its own.
  framelane::Subscriber calm("thrown", asking([] { return true; }));
  angry = true;
  std::uint32_t outcome = 0;
  std::thread thread([&] { outcome = code_of([&] { calm.recv(); }); });
  CHECK_THROWS_WITH_AS(subscriber.recv(), "mine", std::runtime_error);
  thread.join();
  CHECK(outcome == FRAMELANE_ERROR_INTERRUPTED);
}

TEST_CASE("timeout_counts_while_another_thread_is_in_a_call") {
  Waiting waiting;
  framelane::Publisher publisher("turns");
  framelane::Subscriber subscriber("turns", asking(waiting.check()));
  std::thread thread([&] { code_of([&] { subscriber.recv(); }); });
  waiting.until();
  CHECK(!subscriber.try_recv());
  CHECK_THROWS_WITH_AS(subscriber.recv(1ms), doctest::Contains("another thread's call"), FramelaneError);
  subscriber.close();
  thread.join();
}
