// A drop-in for programs written against the old ShareMemory.h: the same class, the same memory, without its faults.
// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Programs compile against it without an edit, but for their Windows includes, and share frames with old readers and
// writers in both directions. Needs OpenCV's core module and POSIX shared memory. docs/migrating-from-sharememory.md.
//
// To be defined before the include, the same in all programs:
//   FRAME_NUMBER, FRAME_W, FRAME_H   streams in one mapping, and the largest frame of each (1, 1920, 1080)
//   FRAMELANE_LEGACY_NAME            the mapping's name ("ShareMedia")
//   FRAMELANE_LEGACY_MODE            permissions of what is made (0600: this user alone)
//   FRAMELANE_LEGACY_CHANNEL         a name: SendMat also publishes to this framelane channel (stream 1 to NAME/1, …);
//                                    then link framelane
#ifndef FRAMELANE_LEGACY_SHAREMEMORY_H
#define FRAMELANE_LEGACY_SHAREMEMORY_H

#ifndef FRAME_NUMBER
#define FRAME_NUMBER 1
#endif
#ifndef FRAME_W
#define FRAME_W 1920
#endif
#ifndef FRAME_H
#define FRAME_H 1080
#endif
#ifndef FRAME_W_H
#define FRAME_W_H (FRAME_W * FRAME_H)
#endif
#ifndef FRAME_SIZE
#define FRAME_SIZE (FRAME_W_H * 3)
#endif
#ifndef MEMORY_SIZE
#define MEMORY_SIZE (FRAME_NUMBER * (FRAME_SIZE + sizeof(ImgInf)))
#endif
#ifndef FRAMELANE_LEGACY_NAME
#define FRAMELANE_LEGACY_NAME "ShareMedia"
#endif
#ifndef FRAMELANE_LEGACY_MODE
#define FRAMELANE_LEGACY_MODE 0600
#endif
#ifndef FRAMELANE_LEGACY_BOXES
#define FRAMELANE_LEGACY_BOXES 1024
#endif

#define INITSUCCESS 0
#define CREATEMAPFAILED 1
#define MAPVIEWFAILED 2

#include <iostream>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "detail/boxes.h"
#include "detail/frames.h"
#include "detail/mapping.h"

#ifdef FRAMELANE_LEGACY_CHANNEL
#include <framelane/opencv.hpp>
#endif

/// Frames, texts and boxes in a named mapping. Copies share it: it is unmapped once, with the last of them.
///
/// The mapping itself stays when the program ends, for readers that come later and writers that come back; `Remove` takes it
/// away. Calls on one object, or its copies, may come from several threads, each with a stream of its own.
class SHAREDMEMORY {
 public:
  /// INITSUCCESS, CREATEMAPFAILED or MAPVIEWFAILED. With the last two, sending gives false and receiving nothing.
  int state;

  explicit SHAREDMEMORY(const char* name = FRAMELANE_LEGACY_NAME) : state(INITSUCCESS), shared_(new Shared(name)) {
    switch (shared_->mapping.stage()) {
      case framelane::legacy::Stage::mapped: break;
      case framelane::legacy::Stage::not_created: state = CREATEMAPFAILED; break;
      case framelane::legacy::Stage::not_viewed: state = MAPVIEWFAILED; break;
    }
    if (state != INITSUCCESS) shared_->say("the mapping " + shared_->name + " " + shared_->mapping.failure());
  }

  /// Writes a frame of any type, also a region of a larger one. `index` is the stream: 0, 1, … (or '0', '1', …).
  /// False, and nothing is written, when it is larger than FRAME_W x FRAME_H BGR pixels, empty, or there is no such stream.
  bool SendMat(cv::Mat image, char index) {
    unsigned char* const area = area_of(index);
    if (area == nullptr) return false;
    const framelane::legacy::Written written = framelane::legacy::write_frame(area, area_bytes, image);
    if (written == framelane::legacy::Written::too_large) {
      shared_->say("a frame of " + std::to_string(image.cols) + "x" + std::to_string(image.rows) + ", " +
                   std::to_string(image.total() * image.elemSize()) + " bytes, does not fit an area of " +
                   std::to_string(area_bytes) + "\n  remedy: define larger FRAME_W and FRAME_H in all programs");
    }
    publish(image, stream_of(index));
    return written == framelane::legacy::Written::yes;
  }

  /// The frame that is there: a copy, for the memory may change at any time. Read until two looks agree; one whose writer
  /// pauses half-way looks complete. Empty when there is no frame, and when the memory changes all the time.
  cv::Mat ReceiveMat(char index) {
    const unsigned char* const area = area_of(index);
    return area == nullptr ? cv::Mat() : framelane::legacy::read_frame(area, area_bytes, [] {});
  }
  cv::Mat RecieveMat(char index) { return ReceiveMat(index); }

  /// Writes a text with its NUL, from the start of the mapping: over the header of stream 0. False when it does not fit.
  bool SendStr(const char text[]) {
    unsigned char* const memory = shared_->mapping.data();
    if (memory == nullptr) return false;
    const framelane::legacy::Written written =
        framelane::legacy::write_text(memory, shared_->mapping.bytes(), text);
    if (written == framelane::legacy::Written::too_large) {
      shared_->say("a text is longer than the mapping\n  remedy: send a shorter one");
    }
    return written == framelane::legacy::Written::yes;
  }

  /// The text that is there, "" when there is none. The pointer stays valid while a copy of the object
  /// lives; the text behind it is that of the last call.
  char* ReceiveStr() {
    const unsigned char* const memory = shared_->mapping.data();
    std::string text;
    if (memory != nullptr) text = framelane::legacy::read_text(memory, shared_->mapping.bytes(), [] {});
    const std::lock_guard<std::mutex> lock(shared_->mutex);
    // Room for any text at once: the pointer given out before must not move. Pages are taken when they are written.
    shared_->text.reserve(MEMORY_SIZE);
    shared_->text.assign(text);
    return &shared_->text[0];
  }
  char* RecieveStr() { return ReceiveStr(); }

  /// Writes the boxes of a stream's frame, in a mapping of their own (NAME.boxes) that only this header knows.
  /// False when there are more than FRAMELANE_LEGACY_BOXES.
  bool SendVectorBox(const std::vector<TrackBox>& found, char index = 0) {
    framelane::legacy::Boxes* const boxes = boxes_of(index);
    if (boxes == nullptr) return false;
    const bool written = boxes->write(static_cast<std::size_t>(stream_of(index)), found);
    if (!written && boxes->failure().empty()) {
      shared_->say(std::to_string(found.size()) + " boxes do not fit\n  remedy: define a larger FRAMELANE_LEGACY_BOXES in all programs");
    }
    return written;
  }
  bool SendBox(const TrackBox& box, char index = 0) { return SendVectorBox(std::vector<TrackBox>(1, box), index); }

  /// All boxes of one SendVectorBox; none when there are none.
  std::vector<TrackBox> RecieveVectorBox(char index = 0) {
    framelane::legacy::Boxes* const boxes = boxes_of(index);
    return boxes == nullptr ? std::vector<TrackBox>() : boxes->read(static_cast<std::size_t>(stream_of(index)));
  }
  std::vector<TrackBox> ReceiveVectorBox(char index = 0) { return RecieveVectorBox(index); }

  /// The first of them; one of no size when there are none.
  TrackBox RecBox(char index = 0) {
    const std::vector<TrackBox> found = RecieveVectorBox(index);
    return found.empty() ? TrackBox() : found[0];
  }

  /// Takes the names away: who has the memory keeps it, who comes later gets new memory.
  static void Remove(const char* name = FRAMELANE_LEGACY_NAME) {
    framelane::legacy::remove_mapping(name);
    framelane::legacy::remove_mapping(std::string(name) + ".boxes");
  }

 private:
  static constexpr std::size_t area_bytes = sizeof(ImgInf) + FRAME_SIZE;
  static_assert(MEMORY_SIZE >= FRAME_NUMBER * (sizeof(ImgInf) + FRAME_SIZE), "every stream has an area");

  struct Shared {
    explicit Shared(const char* n) : name(n == nullptr ? "" : n), mapping(name, MEMORY_SIZE, FRAMELANE_LEGACY_MODE) {}

    /// Once for each message: the same one would come with every frame.
    void say(const std::string& message) {
      const std::lock_guard<std::mutex> lock(mutex);
      if (message == said) return;
      said = message;
      std::cerr << "ShareMemory: " << message << std::endl;
    }

    std::string name;
    framelane::legacy::Mapping mapping;
    std::mutex mutex;
    std::unique_ptr<framelane::legacy::Boxes> boxes;
    std::string text, said;
#ifdef FRAMELANE_LEGACY_CHANNEL
    std::unique_ptr<framelane::Publisher> publishers[FRAME_NUMBER];
#endif
  };

  /// The number of a stream; -1 when there is none. A digit counts as its number where it is no number of a stream.
  static int stream_of(char index) {
    const int number = static_cast<int>(static_cast<signed char>(index));
    if (number >= 0 && number < FRAME_NUMBER) return number;
    const int digit = number - '0';
    return digit >= 0 && digit <= 9 && digit < FRAME_NUMBER ? digit : -1;
  }

  bool has_stream(char index) {
    if (stream_of(index) >= 0) return true;
    shared_->say("stream " + std::to_string(static_cast<int>(index)) + ": expected 0 to " + std::to_string(FRAME_NUMBER - 1) +
                 "\n  remedy: define a larger FRAME_NUMBER in all programs");
    return false;
  }

  unsigned char* area_of(char index) {
    if (!has_stream(index) || shared_->mapping.data() == nullptr) return nullptr;
    return shared_->mapping.data() + static_cast<std::size_t>(stream_of(index)) * area_bytes;
  }

  framelane::legacy::Boxes* boxes_of(char index) {
    if (!has_stream(index) || state != INITSUCCESS) return nullptr;
    std::unique_lock<std::mutex> lock(shared_->mutex);
    if (!shared_->boxes) {
      const std::string name = shared_->name + ".boxes";
      shared_->boxes.reset(new framelane::legacy::Boxes(name, FRAME_NUMBER, FRAMELANE_LEGACY_BOXES, FRAMELANE_LEGACY_MODE));
    }
    const std::string failure = shared_->boxes->failure();
    lock.unlock();
    if (!failure.empty()) shared_->say("the mapping " + shared_->name + ".boxes " + failure);
    return shared_->boxes.get();
  }

#ifdef FRAMELANE_LEGACY_CHANNEL
  /// A channel that fails does not hold up the old way.
  void publish(const cv::Mat& image, int stream) {
    if (stream < 0 || image.empty()) return;
    std::string fault;
    try {
      const std::lock_guard<std::mutex> lock(shared_->mutex);
      std::unique_ptr<framelane::Publisher>& publisher = shared_->publishers[stream];
      if (!publisher) {
        const std::string channel = FRAMELANE_LEGACY_CHANNEL;
        publisher.reset(new framelane::Publisher(stream == 0 ? channel : channel + "/" + std::to_string(stream)));
      }
      framelane::publish(*publisher, image);
    } catch (const std::exception& error) {
      fault = error.what();
    }
    if (!fault.empty()) shared_->say("frames are not published: " + fault);
  }
#else
  void publish(const cv::Mat&, int) {}
#endif

  std::shared_ptr<Shared> shared_;
};

#endif
