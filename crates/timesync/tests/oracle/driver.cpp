// Runs cases through the synchronisers of ROS 1 (message_filters) and tells which sets they give, and when.
//
// Every number is a 64-bit little-endian integer; the age penalty is the bits of a double. On stdin: cases, each
//   policy (0 ApproximateTime, 1 ExactTime), arithmetic (1 that of ROS 1, 2 that of ROS 2), topics, queue size, age penalty,
//   largest interval in ns (-1 for none), one lower bound in ns per topic, number of messages, and per message topic and stamp in ns.
// On stdout: per case the number of sets, and per set the number of the message that completed it and the number of each member.
// With the argument `bench`: one case on stdin, run ROUNDS times; on stdout the nanoseconds of the fastest round and the number of its sets.
//
// Arithmetic. The two generations of the algorithm differ in one operation, a duration times a factor: ROS 1 multiplies seconds as a
// double and rounds to the nearest nanosecond, ROS 2 multiplies nanoseconds as a long double and truncates. ROS 1 asks
// ros::Duration::operator*(double) for it, a member of a class template, which is specialised here: so everything else that runs is the
// library as it is, with either arithmetic.

#include <ros/duration.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <vector>

static bool ros2_arithmetic = false;

namespace ros
{
template<>
Duration DurationBase<Duration>::operator*(double scale) const
{
  if (!ros2_arithmetic) {
    return Duration(toSec() * scale);
  }
  const long double product_ns = static_cast<long double>(toNSec()) * static_cast<long double>(scale);
  Duration truncated;
  truncated.fromNSec(static_cast<int64_t>(product_ns));
  return truncated;
}
}  // namespace ros

#include <message_filters/sync_policies/approximate_time.h>
#include <message_filters/sync_policies/exact_time.h>
#include <message_filters/synchronizer.h>

struct Message
{
  ros::Time stamp;
  int64_t number;
};

namespace ros
{
namespace message_traits
{
template<>
struct TimeStamp<Message, void>
{
  static ros::Time value(const Message & message) {return message.stamp;}
};
}  // namespace message_traits
}  // namespace ros

namespace
{
using message_filters::Synchronizer;
using message_filters::sync_policies::ApproximateTime;
using message_filters::sync_policies::ExactTime;
typedef ros::MessageEvent<Message const> Event;

const int ROUNDS = 5;

bool read_number(int64_t & number)
{
  return std::fread(&number, sizeof number, 1, stdin) == 1;
}

int64_t need_number()
{
  int64_t number;
  if (!read_number(number)) {
    throw std::runtime_error("input ends within a case");
  }
  return number;
}

ros::Time time_of(int64_t ns)
{
  ros::Time time;
  return time.fromNSec(static_cast<uint64_t>(ns));
}

ros::Duration duration_of(int64_t ns)
{
  ros::Duration duration;
  return duration.fromNSec(ns);
}

struct Case
{
  int64_t policy, arithmetic, topics, queue_size, max_interval_ns;
  double age_penalty;
  std::vector<int64_t> lower_bounds_ns;
  std::vector<int> topic;
  std::vector<Event> events;

  bool read()
  {
    if (!read_number(policy)) {
      return false;
    }
    arithmetic = need_number();
    topics = need_number();
    queue_size = need_number();
    const int64_t bits = need_number();
    std::memcpy(&age_penalty, &bits, sizeof bits);
    max_interval_ns = need_number();
    lower_bounds_ns.clear();
    for (int64_t i = 0; i < topics; ++i) {
      lower_bounds_ns.push_back(need_number());
    }
    const int64_t count = need_number();
    topic.clear();
    events.clear();
    for (int64_t number = 0; number < count; ++number) {
      topic.push_back(static_cast<int>(need_number()));
      boost::shared_ptr<Message> message(new Message);
      message->stamp = time_of(need_number());
      message->number = number;
      events.push_back(Event(message, message->stamp));
    }
    return true;
  }
};

// Notes the members of a set; topics that are not used come as null types.
struct Recorder
{
  typedef void result_type;
  std::vector<int64_t> * out;
  const int64_t * moment;

  void note(const boost::shared_ptr<Message const> & message) const {out->push_back(message->number);}
  void note(const boost::shared_ptr<message_filters::NullType const> &) const {}

  template<class A, class B, class C, class D, class E, class F, class G, class H, class I>
  void operator()(
    const A & a, const B & b, const C & c, const D & d, const E & e, const F & f, const G & g, const H & h, const I & i) const
  {
    out->push_back(*moment);
    note(a); note(b); note(c); note(d); note(e); note(f); note(g); note(h); note(i);
  }
};

template<class Sync, int I, int N>
struct Add
{
  static void to(Sync & sync, int topic, const Event & event)
  {
    if (topic == I) {
      sync.template add<I>(event);
    } else {
      Add<Sync, I + 1, N>::to(sync, topic, event);
    }
  }
};

template<class Sync, int N>
struct Add<Sync, N, N>
{
  static void to(Sync &, int, const Event &) {throw std::runtime_error("no such topic");}
};

template<class... M>
void configure(ApproximateTime<M...> & policy, const Case & input)
{
  policy.setAgePenalty(input.age_penalty);
  if (input.max_interval_ns >= 0) {
    policy.setMaxIntervalDuration(duration_of(input.max_interval_ns));
  }
  for (size_t i = 0; i < input.lower_bounds_ns.size(); ++i) {
    policy.setInterMessageLowerBound(static_cast<int>(i), duration_of(input.lower_bounds_ns[i]));
  }
}

template<class... M>
void configure(ExactTime<M...> &, const Case &) {}

// Returns the nanoseconds that the messages took, without what comes before and after them.
template<class Policy, int N>
int64_t run_policy(const Case & input, std::vector<int64_t> & out)
{
  typedef Synchronizer<Policy> Sync;
  Policy policy(static_cast<uint32_t>(input.queue_size));
  configure(policy, input);
  Sync sync(policy);
  int64_t moment = 0;
  Recorder recorder = {&out, &moment};
  sync.registerCallback(recorder);
  const auto begin = std::chrono::steady_clock::now();
  for (size_t i = 0; i < input.events.size(); ++i) {
    moment = static_cast<int64_t>(i);
    Add<Sync, 0, N>::to(sync, input.topic[i], input.events[i]);
  }
  const auto end = std::chrono::steady_clock::now();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(end - begin).count();
}

template<int N, class... M>
struct Repeat : Repeat<N - 1, Message, M...> {};

template<class... M>
struct Repeat<0, M...>
{
  static int64_t run(const Case & input, std::vector<int64_t> & out)
  {
    return input.policy == 0 ? run_policy<ApproximateTime<M...>, sizeof...(M)>(input, out) :
           run_policy<ExactTime<M...>, sizeof...(M)>(input, out);
  }
};

int64_t run_case(const Case & input, std::vector<int64_t> & out)
{
  ros2_arithmetic = input.arithmetic == 2;
  switch (input.topics) {
    case 2: return Repeat<2>::run(input, out);
    case 3: return Repeat<3>::run(input, out);
    case 4: return Repeat<4>::run(input, out);
    case 6: return Repeat<6>::run(input, out);
    case 9: return Repeat<9>::run(input, out);
    default: throw std::runtime_error("expected 2, 3, 4, 6 or 9 topics");
  }
}

void write_numbers(const std::vector<int64_t> & numbers)
{
  if (std::fwrite(numbers.data(), sizeof(int64_t), numbers.size(), stdout) != numbers.size()) {
    throw std::runtime_error("cannot write");
  }
}
}  // namespace

int main(int argc, char ** argv)
{
  const bool bench = argc > 1 && std::strcmp(argv[1], "bench") == 0;
  Case input;
  try {
    while (input.read()) {
      std::vector<int64_t> sets;
      int64_t best_ns = run_case(input, sets);
      for (int round = 1; bench && round < ROUNDS; ++round) {
        sets.clear();
        best_ns = std::min(best_ns, run_case(input, sets));
      }
      const int64_t count = static_cast<int64_t>(sets.size()) / (input.topics + 1);
      write_numbers(bench ? std::vector<int64_t>{best_ns, count} : std::vector<int64_t>{count});
      if (!bench) {
        write_numbers(sets);
      }
    }
  } catch (const std::exception & error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
