// The part of DLPack 1.x through which torch 2.10 and newer show the memory of a tensor: https://dmlc.github.io/dlpack.
// Names and order of the fields are those of its header.
#pragma once

#include <cstdint>

namespace ecgloss::dlpack {

constexpr uint32_t kMajor = 1;
constexpr int32_t kCpu = 1, kCudaHost = 3;   // device types of memory a CPU reads
constexpr uint8_t kInt = 0, kFloat = 2;      // codes of element types
constexpr const char* kAttribute = "__dlpack_c_exchange_api__";  // of a tensor's type
constexpr const char* kCapsule = "dlpack_exchange_api";

struct Tensor {
  void* data;
  int32_t device_type, device_id;
  int32_t ndim;
  uint8_t code, bits;
  uint16_t lanes;
  int64_t* shape;
  int64_t* strides;  // in entries; null: contiguous
  uint64_t byte_offset;
};

// Fills a Tensor that is valid as long as the Python object; -1 with a Python exception set.
using View = int (*)(void* object, Tensor* out);

struct ExchangeApi {
  uint32_t major, minor;
  ExchangeApi* previous;
  void *allocator, *managed_from_object, *managed_to_object;
  View view;  // may be null
  void* current_work_stream;
};

}  // namespace ecgloss::dlpack
