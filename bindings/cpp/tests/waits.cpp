// Waiting: timeouts, cancel tokens, other threads.
#include <doctest/doctest.h>
#include <framelane/framelane.hpp>

#include <atomic>
#include <thread>

using framelane::Code;
using framelane::FramelaneError;
using framelane::Format;
using namespace std::chrono_literals;

TEST_CASE("a wait ends with its time: as an error, or as nothing") {
  framelane::Publisher publisher("timeout");
  framelane::Subscriber subscriber("timeout");
  CHECK(!subscriber.try_recv());
  CHECK(!subscriber.try_recv(10ms));
  try {
    subscriber.recv(1ms);
    FAIL("there is no frame");
  } catch (const FramelaneError& error) {
    CHECK(error.code() == Code::Timeout);
  }
}

TEST_CASE("open_timeout limits the wait for a channel") {
  framelane::SubscriberOptions options;
  options.open_timeout = 0ns;
  try {
    framelane::Subscriber("missing", options);
    FAIL("there is no channel");
  } catch (const FramelaneError& error) {
    CHECK(error.code() == Code::NotFound);
  }
  std::thread late([] {
    framelane::Publisher publisher("late");
    publisher.loan({Format::Gray8, 1, 1}).publish();
    while (publisher.subscribers() == 0) std::this_thread::yield();
  });
  framelane::Subscriber subscriber("late");
  late.join();
  CHECK(subscriber.channel() == "late");
}

TEST_CASE("check_that_returns_true_ends_the_wait") {
  framelane::Publisher publisher("check");
  std::atomic<int> asked{0};
  framelane::SubscriberOptions options;
  options.cancel = framelane::CancelToken([&] { return ++asked == 2; });
  framelane::Subscriber subscriber("check", options);
  try {
    subscriber.recv();
    FAIL("nothing was published");
  } catch (const FramelaneError& error) {
    CHECK(error.code() == Code::Interrupted);
  }
  CHECK(asked == 2);
}

TEST_CASE("exception of a check leaves the object usable") {
  framelane::PublisherOptions options{2, framelane::Backpressure::Block};
  struct Mine {
    int number;
  };
  options.cancel = framelane::CancelToken([]() -> bool { throw Mine{7}; });
  framelane::Publisher publisher("throwing", options);
  auto first = std::make_optional(publisher.loan({Format::Gray8, 1, 1}));
  auto second = publisher.loan({Format::Gray8, 1, 1});
  try {
    publisher.loan({Format::Gray8, 1, 1});
    FAIL("both slots are lent");
  } catch (const Mine& mine) {
    CHECK(mine.number == 7);
  }
  first.reset();
  CHECK(publisher.loan({Format::Gray8, 1, 1}).publish() == 1);
}

TEST_CASE("moved_object_keeps_its_cancel_token") {
  framelane::Publisher publisher("moves");
  framelane::SubscriberOptions options;
  options.cancel = framelane::CancelToken([] { return true; });
  auto made = std::make_optional<framelane::Subscriber>("moves", options);
  framelane::Subscriber moved = std::move(*made);
  made.reset();
  CHECK_THROWS_AS(moved.recv(), FramelaneError);
}

TEST_CASE("cancelled_token_ends_every_wait_opened_with_it") {
  framelane::CancelToken cancel;
  framelane::PublisherOptions publishing{2, framelane::Backpressure::Block};
  publishing.cancel = cancel;
  framelane::Publisher publisher("cancelled", publishing);
  auto first = publisher.loan({Format::Gray8, 1, 1}), second = publisher.loan({Format::Gray8, 1, 1});
  framelane::SubscriberOptions options;
  options.cancel = cancel;
  framelane::Subscriber subscriber("cancelled", options);
  auto interrupted = [](auto call) {
    try {
      call();
    } catch (const FramelaneError& error) {
      return error.code() == Code::Interrupted;
    }
    return false;
  };
  bool lent = true, received = true;
  std::thread lending([&] { lent = interrupted([&] { publisher.loan({Format::Gray8, 1, 1}); }); });
  std::thread receiving([&] { received = interrupted([&] { subscriber.recv(); }); });
  const framelane::CancelToken copy = cancel;
  CHECK_FALSE(copy.is_cancelled());
  copy.cancel();
  lending.join();
  receiving.join();
  CHECK((lent && received && cancel.is_cancelled()));
  CHECK(interrupted([&] { framelane::Subscriber("none", options); }));
  first.publish();
  CHECK(subscriber.recv().sequence() == 1);
  CHECK_THROWS_AS(framelane::CancelToken(std::function<bool()>()), FramelaneError);
}

TEST_CASE("check_of_a_token_is_destroyed_with_its_last_owner") {
  auto owned = std::make_shared<int>(0);
  const std::weak_ptr<int> watched = owned;
  framelane::SubscriberOptions options;
  options.cancel = framelane::CancelToken([owned = std::move(owned)] { return ++*owned > 0; });
  framelane::Publisher publisher("owned");
  {
    framelane::Subscriber subscriber("owned", options);
    options.cancel.reset();
    CHECK_FALSE(watched.expired());
    CHECK_THROWS_AS(subscriber.recv(), FramelaneError);
  }
  CHECK(watched.expired());
}

TEST_CASE("threads take turns on one publisher") {
  framelane::Publisher publisher("threads", {8});
  framelane::Subscriber subscriber("threads");
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&publisher] {
      for (int i = 0; i < 500; ++i) {
        auto loan = publisher.loan({Format::Gray8, 16, 16});
        std::fill_n(loan.data(), 256, static_cast<std::uint8_t>(i));
        loan.publish();
      }
    });
  }
  std::uint64_t last = 0, seen = 0;
  while (last < 2000) {
    const auto frame = subscriber.recv();
    CHECK(frame.sequence() == last + frame.dropped() + 1);
    last = frame.sequence();
    for (int i = 1; i < 256; ++i) REQUIRE(frame.data()[i] == frame.data()[0]);
    ++seen;
  }
  for (auto& thread : threads) thread.join();
  CHECK((publisher.sequence() == 2000 && publisher.dropped() == 0 && subscriber.received() == seen));
}
