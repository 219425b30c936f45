// Mappings of other users, links in their place, and permissions. /dev/shm is open to every user of the
// machine.
#include <sys/types.h>
static uid_t trusted;
#define FRAMELANE_LEGACY_OWNER trusted
#define FRAMELANE_LEGACY_CORE_ONLY
#define FRAME_W 64
#define FRAME_H 48
#include <doctest/doctest.h>
#include <framelane/legacy/ShareMemory.h>

#include "messages.h"
#include "process.h"
#include "skip.h"

#include <algorithm>
#include <fstream>
#include <iterator>

namespace {

constexpr uid_t stranger = 65534;

/// A mapping that another program has made.
struct File {
  explicit File(const char* test) : name("framelane-owners-" + std::to_string(getpid()) + "-" + test) {
    trusted = geteuid();
    descriptor = shm_open(("/" + name).c_str(), O_CREAT | O_RDWR, 0600);
    REQUIRE(ftruncate(descriptor, MEMORY_SIZE) == 0);
  }
  ~File() {
    close(descriptor);
    unlink(path().c_str());
    unlink((path() + ".boxes").c_str());
  }
  std::string path() const { return "/dev/shm/" + name; }
  bool is_there() const { return access(path().c_str(), F_OK) == 0; }
  bool is_blank() const {
    std::ifstream file(path(), std::ios::binary);
    return std::all_of(std::istreambuf_iterator<char>(file), {}, [](char byte) { return byte == 0; });
  }

  std::string name;
  int descriptor;
};

bool give_away(const File& file) {
  if (fchown(file.descriptor, stranger, stranger) == 0) return true;
  SKIP("root", "only root can give a file away");
  return false;
}

const cv::Mat picture(4, 4, CV_8UC3, cv::Scalar::all(7));

}  // namespace

TEST_CASE("mapping_of_another_user_gets_no_frames") {
  const File file("foreign");
  fchmod(file.descriptor, 0666);
  if (!give_away(file)) return;
  const ImgInf header = {4, 4, 16};
  {
    const Messages messages;
    SHAREDMEMORY memory(file.name.c_str());
    CHECK(memory.state == CREATEMAPFAILED);
    CHECK((!memory.SendMat(picture, 0) && !memory.SendStr("text") && !memory.SendBox(TrackBox(1, 2, 3, 4))));
    CHECK(messages.contain("found user 65534"));
    CHECK(messages.contain("FRAMELANE_LEGACY_OWNER 65534"));
    CHECK(file.is_blank());
    REQUIRE(pwrite(file.descriptor, &header, sizeof header, 0) == sizeof header);
    CHECK((memory.ReceiveMat(0).empty() && std::string(memory.ReceiveStr()).empty()));
  }
  // An empty one is not given a size.
  REQUIRE(ftruncate(file.descriptor, 0) == 0);
  CHECK(SHAREDMEMORY(file.name.c_str()).state == CREATEMAPFAILED);
  struct stat found;
  REQUIRE((fstat(file.descriptor, &found) == 0 && found.st_size == 0));
}

TEST_CASE("boxes_of_another_user_are_refused") {
  const File file("boxes");
  SHAREDMEMORY memory(file.name.c_str());
  REQUIRE(memory.SendBox(TrackBox(1, 2, 3, 4)));
  if (chown((file.path() + ".boxes").c_str(), stranger, stranger) != 0) return;
  const Messages messages;
  SHAREDMEMORY later(file.name.c_str());
  CHECK((!later.SendBox(TrackBox(5, 6, 7, 8)) && later.RecieveVectorBox().empty()));
  CHECK(messages.contain(".boxes belongs to another user"));
}

TEST_CASE("mapping_of_a_trusted_user_is_used") {
  const File file("trusted");
  if (!give_away(file)) return;
  trusted = stranger;
  SHAREDMEMORY memory(file.name.c_str());
  CHECK(memory.state == INITSUCCESS);
  CHECK(memory.SendMat(picture, 0));
  CHECK(memory.ReceiveMat(0).at<cv::Vec3b>(3, 3) == cv::Vec3b(7, 7, 7));
}

TEST_CASE("another_user_refuses_a_mapping_of_ours") {
  if (geteuid() != 0) {
    SKIP("root", "only root can become another user");
    return;
  }
  const File file("ours");
  fchmod(file.descriptor, 0666);
  Child child([&](Child&) {
    if (setuid(stranger) != 0) return 9;
    trusted = geteuid();
    SHAREDMEMORY memory(file.name.c_str());
    SHAREDMEMORY::Remove(file.name.c_str());
    return memory.state == CREATEMAPFAILED && !memory.SendMat(picture, 0) ? 0 : 1;
  });
  CHECK(child.status() == 0);
  CHECK((file.is_there() && file.is_blank()));
}

TEST_CASE("remove_leaves_the_mapping_of_another_user") {
  const File file("remove");
  if (!give_away(file)) return;
  const Messages messages;
  SHAREDMEMORY::Remove(file.name.c_str());
  CHECK(file.is_there());
  CHECK(messages.contain("cannot remove " + file.name));
  REQUIRE(fchown(file.descriptor, geteuid(), getegid()) == 0);
  SHAREDMEMORY::Remove(file.name.c_str());
  CHECK(!file.is_there());
}

TEST_CASE("link_in_place_of_a_mapping_is_refused") {
  const File target("target");
  const File file("link");
  unlink(file.path().c_str());
  REQUIRE(symlink(target.path().c_str(), file.path().c_str()) == 0);
  CHECK(SHAREDMEMORY(file.name.c_str()).state == CREATEMAPFAILED);
  SHAREDMEMORY::Remove(file.name.c_str());
  unlink(file.path().c_str());
  REQUIRE(link(target.path().c_str(), file.path().c_str()) == 0);
  const Messages messages;
  SHAREDMEMORY memory(file.name.c_str());
  CHECK((memory.state == CREATEMAPFAILED && !memory.SendMat(picture, 0)));
  CHECK(messages.contain("2 names"));
  CHECK((target.is_there() && target.is_blank()));
}

TEST_CASE("mapping_that_others_can_use_is_warned_about") {
  const File file("mode");
  for (const mode_t mode : {0644U, 0640U, 0660U, 0602U}) {
    fchmod(file.descriptor, mode);
    const Messages messages;
    SHAREDMEMORY memory(file.name.c_str());
    CHECK((memory.state == INITSUCCESS && memory.SendMat(picture, 0)));
    CHECK(
        messages.contain((mode & 022) != 0 ? "can be written by other users" : "can be read by other users"));
    CHECK(messages.contain("chmod 600 " + file.path()));
  }
  fchmod(file.descriptor, 0600);
  const Messages messages;
  SHAREDMEMORY memory(file.name.c_str());
  CHECK(messages.text().empty());
}
