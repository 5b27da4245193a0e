#include "arguments.h"

#include <pybind11/gil_safe_call_once.h>

#include <stdexcept>
#include <string>

#include "dlpack.h"

namespace py = pybind11;

namespace ecgloss {
namespace {

std::string type_name(py::handle object) { return Py_TYPE(object.ptr())->tp_name; }

[[noreturn]] void refuse_type(const char* name, const std::string& accepted, const std::string& got) {
  throw py::type_error(std::string(name) + " must be " + accepted + "; got " + got);
}

// What of torch is needed to read a tensor. References are kept until the process ends.
struct Torch {
  PyTypeObject* tensor;
  dlpack::View view = nullptr;  // null: a torch without it, whose tensors are read by their attributes
  PyObject *dtype, *is_cpu, *shape, *is_contiguous, *data_ptr;  // names
  PyObject *float32, *float64, *int64;

  Torch() {
    const py::module_ torch = py::module_::import("torch");
    const py::object type = torch.attr("Tensor");
    tensor = reinterpret_cast<PyTypeObject*>(type.inc_ref().ptr());
    if (py::hasattr(type, dlpack::kAttribute)) {
      const py::object capsule = type.attr(dlpack::kAttribute);
      auto* api = static_cast<dlpack::ExchangeApi*>(PyCapsule_GetPointer(capsule.ptr(), dlpack::kCapsule));
      if (api == nullptr) PyErr_Clear();
      while (api != nullptr && api->major != dlpack::kMajor) api = api->previous;
      if (api != nullptr) view = api->view;
    }
    const auto name = [](const char* text) { return PyUnicode_InternFromString(text); };
    dtype = name("dtype"), is_cpu = name("is_cpu"), shape = name("shape");
    is_contiguous = name("is_contiguous"), data_ptr = name("data_ptr");
    const auto kept = [&](const char* attribute) { return py::object(torch.attr(attribute)).release().ptr(); };
    float32 = kept("float32"), float64 = kept("float64"), int64 = kept("int64");
  }
};

const Torch& torch() {
  PYBIND11_CONSTINIT static py::gil_safe_call_once_and_store<Torch> storage;
  return storage.call_once_and_store_result([] { return Torch(); }).get_stored();
}

enum class Type { float32, float64, int64, other };

template <class T>
constexpr Type kType = Type::other;
template <>
constexpr Type kType<float> = Type::float32;
template <>
constexpr Type kType<double> = Type::float64;
template <>
constexpr Type kType<int64_t> = Type::int64;

const char* name_of(Type type) {
  return type == Type::float32 ? "float32" : type == Type::float64 ? "float64" : "int64";
}

// A tensor, as torch describes it.
struct View {
  void* data = nullptr;
  Type type = Type::other;
  bool on_cpu = false, contiguous = true;
  int64_t dims = 0, rows = 1, width = 1, size = 1;

  void add_extent(int64_t extent) {
    if (dims == 0) rows = extent;
    if (dims == 1) width = extent;
    size *= extent;
    ++dims;
  }
};

View view_by_dlpack(PyObject* object, dlpack::View look) {
  dlpack::Tensor t;
  if (look(object, &t) != 0) throw py::error_already_set();
  View view;
  view.data = static_cast<char*>(t.data) + t.byte_offset;
  view.on_cpu = t.device_type == dlpack::kCpu || t.device_type == dlpack::kCudaHost;
  if (t.lanes == 1) {
    if (t.code == dlpack::kFloat && t.bits == 32) view.type = Type::float32;
    if (t.code == dlpack::kFloat && t.bits == 64) view.type = Type::float64;
    if (t.code == dlpack::kInt && t.bits == 64) view.type = Type::int64;
  }
  for (int32_t d = 0; d < t.ndim; ++d) view.add_extent(t.shape[d]);
  int64_t stride = 1;
  for (int32_t d = t.ndim - 1; d >= 0 && t.strides != nullptr && view.size > 0; --d) {
    if (t.shape[d] != 1 && t.strides[d] != stride) view.contiguous = false;
    stride *= t.shape[d];
  }
  return view;
}

// The value of an attribute, or of calling it.
py::object get(PyObject* object, PyObject* name, bool call = false) {
  PyObject* value = call ? PyObject_CallMethodNoArgs(object, name) : PyObject_GetAttr(object, name);
  if (value == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(value);
}

View view_by_attributes(PyObject* object, const Torch& names) {
  View view;
  view.on_cpu = get(object, names.is_cpu).ptr() == Py_True;
  if (!view.on_cpu) return view;
  const py::object dtype = get(object, names.dtype);
  if (dtype.ptr() == names.float32) view.type = Type::float32;
  if (dtype.ptr() == names.float64) view.type = Type::float64;
  if (dtype.ptr() == names.int64) view.type = Type::int64;
  for (const py::handle extent : get(object, names.shape)) view.add_extent(extent.cast<int64_t>());
  view.contiguous = get(object, names.is_contiguous, true).ptr() == Py_True;
  view.data = reinterpret_cast<void*>(get(object, names.data_ptr, true).cast<uintptr_t>());
  return view;
}

View view_of(py::handle object, const char* name) {
  const Torch& names = torch();
  if (!PyType_IsSubtype(Py_TYPE(object.ptr()), names.tensor)) refuse_type(name, "a torch.Tensor", type_name(object));
  return names.view != nullptr ? view_by_dlpack(object.ptr(), names.view) : view_by_attributes(object.ptr(), names);
}

std::string attribute(py::handle object, const char* name) { return py::str(object.attr(name)).cast<std::string>(); }

bool is_list(py::handle object) { return PyList_Check(object.ptr()) || PyTuple_Check(object.ptr()); }

size_t length_of(py::handle list) {
  return static_cast<size_t>(PyList_Check(list.ptr()) ? PyList_GET_SIZE(list.ptr()) : PyTuple_GET_SIZE(list.ptr()));
}

// The entries of a list or tuple, read one by one.
template <class Out, class Read>
Out entries_of(py::handle list, const char* name, Out out, Read read) {
  for (size_t i = 0; i < out.size(); ++i) {
    const auto at = static_cast<Py_ssize_t>(i);
    out[i] = read(PyList_Check(list.ptr()) ? PyList_GET_ITEM(list.ptr(), at) : PyTuple_GET_ITEM(list.ptr(), at), name);
  }
  return out;
}

template <class Out, class Read>
Out entries_of_length(py::handle object, const char* name, const char* what, Read read) {
  Out out = {};
  const bool list = is_list(object);
  if (list && length_of(object) == out.size()) return entries_of(object, name, out, read);
  const std::string accepted = "a list of " + std::to_string(out.size()) + " " + what;
  if (!list) refuse_type(name, accepted, type_name(object));
  throw std::invalid_argument(std::string(name) + " must be " + accepted + "; got " +
                              std::to_string(length_of(object)));
}

}  // namespace

template <class T>
Array<T> array_of(py::handle object, const char* name) {
  const View view = view_of(object, name);
  if (!view.on_cpu) {
    throw std::invalid_argument(std::string(name) + " must be on the CPU; got a tensor on " +
                                attribute(object, "device"));
  }
  if (view.type != kType<T>) {
    refuse_type(name, std::string("a ") + name_of(kType<T>) + " tensor", attribute(object, "dtype"));
  }
  if (!view.contiguous) {
    throw std::invalid_argument(std::string(name) + " must be contiguous; got strides " +
                                py::str(object.attr("stride")()).cast<std::string>() + ": call .contiguous()");
  }
  if (view.data == nullptr && view.size > 0) {
    throw std::invalid_argument(std::string(name) + " must have memory of its own; got a " + type_name(object) +
                                " without");
  }
  return {name, true, static_cast<T*>(view.data), view.dims, view.rows, view.width, view.size};
}

template <class T>
Array<T> optional_array_of(py::handle object, const char* name) {
  if (!object.is_none()) return array_of<T>(object, name);
  Array<T> none;
  none.name = name;
  return none;
}

bool holds_doubles(py::handle object) {
  const Torch& names = torch();
  return PyType_IsSubtype(Py_TYPE(object.ptr()), names.tensor) &&
         get(object.ptr(), names.dtype).ptr() == names.float64;
}

int64_t integer_of(py::handle object, const char* name) {
  if (!PyLong_Check(object.ptr())) refuse_type(name, "an integer", type_name(object));
  int overflow = 0;
  const long long value = PyLong_AsLongLongAndOverflow(object.ptr(), &overflow);
  if (overflow != 0) throw std::invalid_argument(std::string(name) + " must be an integer of 64 bits; got a larger one");
  return value;
}

double number_of(py::handle object, const char* name) {
  if (PyFloat_Check(object.ptr())) return PyFloat_AS_DOUBLE(object.ptr());
  if (!PyLong_Check(object.ptr()) || PyBool_Check(object.ptr())) refuse_type(name, "a number", type_name(object));
  const double value = PyLong_AsDouble(object.ptr());
  if (value == -1 && PyErr_Occurred() != nullptr) throw py::error_already_set();
  return value;
}

bool flag_of(py::handle object, const char* name) {
  if (!PyBool_Check(object.ptr())) refuse_type(name, "True or False", type_name(object));
  return object.ptr() == Py_True;
}

std::vector<int64_t> integers_of(py::handle object, const char* name) {
  if (!is_list(object)) refuse_type(name, "a list of integers", type_name(object));
  return entries_of(object, name, std::vector<int64_t>(length_of(object)), integer_of);
}

template <size_t N>
std::array<int64_t, N> integers_of(py::handle object, const char* name) {
  return entries_of_length<std::array<int64_t, N>>(object, name, "integers", integer_of);
}

template <size_t N>
std::array<double, N> numbers_of(py::handle object, const char* name) {
  return entries_of_length<std::array<double, N>>(object, name, "numbers", number_of);
}

template Array<float> array_of(py::handle, const char*);
template Array<double> array_of(py::handle, const char*);
template Array<int64_t> array_of(py::handle, const char*);
template Array<float> optional_array_of(py::handle, const char*);
template Array<double> optional_array_of(py::handle, const char*);
template Array<int64_t> optional_array_of(py::handle, const char*);
template std::array<int64_t, 4> integers_of(py::handle, const char*);
template std::array<int64_t, 8> integers_of(py::handle, const char*);
template std::array<double, 2> numbers_of(py::handle, const char*);
template std::array<double, 3> numbers_of(py::handle, const char*);

}  // namespace ecgloss
