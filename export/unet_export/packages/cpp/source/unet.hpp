// Segments images of any size with the network in a folder, by exact overlap-tile. One header, C++17.
//
//   unet::Network network("folder");
//   unet::Image image{values, {1, height, width}, channels, 255.0f};
//   unet::Segmentation found = network.segment(image);
//
// Define one of UNET_OPENVINO, UNET_ONNXRUNTIME, UNET_TENSORRT before you include it; CMakeLists.txt does.
// OpenVINO and ONNX Runtime were compiled and run, and their results compared with Python's. TensorRT was not: it takes
// a GPU. Errors are std::runtime_error with one line.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#if defined(UNET_OPENVINO)
#include <openvino/openvino.hpp>
#elif defined(UNET_ONNXRUNTIME)
#include <onnxruntime_c_api.h>
#elif defined(UNET_TENSORRT)
#include <NvInfer.h>
#include <cuda_runtime_api.h>
#else
#error "define UNET_OPENVINO, UNET_ONNXRUNTIME or UNET_TENSORRT"
#endif

namespace unet {

using Size = std::array<std::size_t, 3>;  // depth, height, width; the depth of a 2-D image is 1

// values: depth x height x width x channels, as they are in the file. full_scale: the value that counts as 1: 255 for
// 8 bits, 65535 for 16, 1 for floats.
struct Image {
    std::vector<float> values;
    Size size;
    std::size_t channels;
    float full_scale;
};

// labels: depth x height x width. logits: the same x outputs; empty unless they were asked for.
struct Segmentation {
    std::vector<std::uint8_t> labels;
    std::vector<float> logits;
};

[[noreturn]] inline void fail(const std::string& message) { throw std::runtime_error(message); }

// network.txt: a name and its values on each line.
class Facts {
public:
    explicit Facts(const std::filesystem::path& file) {
        std::ifstream in(file);
        if (!in) fail("cannot read " + file.string());
        for (std::string line; std::getline(in, line);) {
            const auto space = line.find(' ');
            if (space != std::string::npos) values_[line.substr(0, space)] = line.substr(space + 1);
        }
        if (text("format") != "unet-cpp 1") fail(file.string() + ": expected format unet-cpp 1");
    }
    [[nodiscard]] std::string text(const std::string& name) const {
        const auto found = values_.find(name);
        if (found == values_.end()) fail("network.txt has no " + name);
        return found->second;
    }
    template <class Number>
    [[nodiscard]] std::vector<Number> numbers(const std::string& name) const {
        std::istringstream in(text(name));
        std::vector<Number> read;
        for (Number n{}; in >> n;) read.push_back(n);
        return read;
    }
    [[nodiscard]] std::size_t number(const std::string& name) const {
        const auto read = numbers<std::size_t>(name);
        if (read.size() != 1) fail("network.txt: expected one number as " + name);
        return read[0];
    }

private:
    std::map<std::string, std::string> values_;
};

// ---------------------------------------------------------------------------------------------------- tiles

// How an axis is cut. tile 0: the image in one piece.
struct Axis {
    long minimum = 1, step = 1, margin = 0, halo_low = 0, halo_high = 0, tile = 0;
};

// Tile k begins at starts[k] of the mirrored image and writes pixels edges[k] ... edges[k + 1] - 1.
struct AxisPlan {
    long tile, margin;
    std::vector<long> starts, edges;
};

inline AxisPlan plan_axis(long image, const Axis& axis) {
    if (image < 1) fail("an image without pixels");
    const auto mod = [](long a, long b) { return ((a % b) + b) % b; };
    const long needed = image + 2 * axis.margin;
    const long canvas = std::max(axis.minimum, needed + mod(axis.minimum - needed, axis.step));
    if (axis.tile == 0 || axis.tile >= canvas) return {canvas, axis.margin, {0}, {0, image}};
    const long used = 2 * axis.margin + axis.halo_low + axis.halo_high;
    const long stride = (axis.tile - used) / axis.step * axis.step;
    if (stride <= 0) fail("a tile of " + std::to_string(axis.tile) + " is too small for this network");
    AxisPlan plan{axis.tile, axis.margin, {}, {0}};
    for (long start = 0; start < canvas - axis.tile; start += stride) {
        plan.starts.push_back(start);
        plan.edges.push_back(std::min(start + axis.tile - 2 * axis.margin - axis.halo_high, image));
        if (plan.edges.back() == image) return plan;
    }
    plan.starts.push_back(canvas - axis.tile);
    plan.edges.push_back(image);
    return plan;
}

// Positions start ... start + length - 1 of an axis, mirrored; the edge pixel is not repeated.
inline std::vector<std::size_t> mirror(long start, long length, long size) {
    std::vector<std::size_t> index(static_cast<std::size_t>(length), 0);
    if (size == 1) return index;
    const long period = 2 * (size - 1);
    for (long i = 0; i < length; ++i) {
        const long at = (((start + i) % period) + period) % period;
        index[static_cast<std::size_t>(i)] = static_cast<std::size_t>(std::min(at, period - at));
    }
    return index;
}

// -------------------------------------------------------------------------------------------------- engines

// Runs the network on one tensor of float32, 1 x C x spatial, and returns the logits, 1 x K x spatial.
class Engine {
public:
    Engine(const std::filesystem::path& model, int threads);
    std::vector<float> run(std::vector<float>& tensor, const std::vector<std::int64_t>& shape);

private:
#if defined(UNET_OPENVINO)
    ov::InferRequest request_;
#elif defined(UNET_ONNXRUNTIME)
    void check(OrtStatus* status) const {
        if (status == nullptr) return;
        const std::string message = api_->GetErrorMessage(status);
        api_->ReleaseStatus(status);
        fail("ONNX Runtime: " + message);
    }
    template <class T>
    using Owner = std::unique_ptr<T, std::function<void(T*)>>;
    const OrtApi* api_ = nullptr;
    Owner<OrtEnv> env_;
    Owner<OrtSession> session_;
    Owner<OrtMemoryInfo> memory_;
#else
    std::unique_ptr<nvinfer1::IRuntime> runtime_;
    std::unique_ptr<nvinfer1::ICudaEngine> engine_;
    std::unique_ptr<nvinfer1::IExecutionContext> context_;
#endif
};

#if defined(UNET_OPENVINO)

inline Engine::Engine(const std::filesystem::path& model, int threads) {
    ov::Core core;
    // OpenVINO's default on some processors is bfloat16, which is not what a float32 model says.
    ov::AnyMap settings{ov::hint::inference_precision(ov::element::f32)};
    if (threads > 0) settings.insert(ov::inference_num_threads(threads));
    request_ = core.compile_model(model.string(), "CPU", settings).create_infer_request();
}

inline std::vector<float> Engine::run(std::vector<float>& tensor, const std::vector<std::int64_t>& shape) {
    const ov::Shape size(shape.begin(), shape.end());
    request_.set_input_tensor(ov::Tensor(ov::element::f32, size, tensor.data()));
    request_.infer();
    const ov::Tensor logits = request_.get_output_tensor();
    const float* first = logits.data<const float>();
    return {first, first + logits.get_size()};
}

#elif defined(UNET_ONNXRUNTIME)

inline Engine::Engine(const std::filesystem::path& model, int threads) {
    const OrtApiBase* base = OrtGetApiBase();
    api_ = base->GetApi(ORT_API_VERSION);
    if (api_ == nullptr) fail(std::string("ONNX Runtime ") + base->GetVersionString() + " is older than these headers");
    OrtEnv* env = nullptr;
    check(api_->CreateEnv(ORT_LOGGING_LEVEL_ERROR, "unet", &env));
    env_ = {env, [api = api_](OrtEnv* p) { api->ReleaseEnv(p); }};
    OrtSessionOptions* made = nullptr;
    check(api_->CreateSessionOptions(&made));
    const Owner<OrtSessionOptions> options(made, [api = api_](OrtSessionOptions* p) { api->ReleaseSessionOptions(p); });
    check(api_->SetSessionGraphOptimizationLevel(made, ORT_ENABLE_ALL));
    if (threads > 0) check(api_->SetIntraOpNumThreads(made, threads));
    OrtSession* session = nullptr;
    check(api_->CreateSession(env, model.c_str(), made, &session));
    session_ = {session, [api = api_](OrtSession* p) { api->ReleaseSession(p); }};
    OrtMemoryInfo* memory = nullptr;
    check(api_->CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &memory));
    memory_ = {memory, [api = api_](OrtMemoryInfo* p) { api->ReleaseMemoryInfo(p); }};
}

inline std::vector<float> Engine::run(std::vector<float>& tensor, const std::vector<std::int64_t>& shape) {
    const auto release = [api = api_](OrtValue* p) { api->ReleaseValue(p); };
    OrtValue* given = nullptr;
    check(api_->CreateTensorWithDataAsOrtValue(memory_.get(), tensor.data(), tensor.size() * sizeof(float), shape.data(),
                                               shape.size(), ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, &given));
    const Owner<OrtValue> image(given, release);
    const char* const inputs[] = {"image"};
    const char* const outputs[] = {"logits"};
    const OrtValue* const images[] = {given};
    OrtValue* found = nullptr;
    check(api_->Run(session_.get(), nullptr, inputs, images, 1, outputs, 1, &found));
    const Owner<OrtValue> logits(found, release);
    OrtTensorTypeAndShapeInfo* info = nullptr;
    check(api_->GetTensorTypeAndShape(found, &info));
    std::size_t count = 0;
    OrtStatus* const counted = api_->GetTensorShapeElementCount(info, &count);
    api_->ReleaseTensorTypeAndShapeInfo(info);
    check(counted);
    float* first = nullptr;
    check(api_->GetTensorMutableData(found, reinterpret_cast<void**>(&first)));
    return {first, first + count};
}

#else  // UNET_TENSORRT: unproven, see above. `model` is an engine (.plan) for this GPU and this version of TensorRT.

namespace detail {
class Logger : public nvinfer1::ILogger {
    void log(Severity severity, const char* message) noexcept override {
        if (severity <= Severity::kERROR) std::fprintf(stderr, "TensorRT: %s\n", message);
    }
};
inline void cuda(cudaError_t error) {
    if (error != cudaSuccess) fail(std::string("CUDA: ") + cudaGetErrorString(error));
}
class Memory {  // of the GPU
public:
    explicit Memory(std::size_t bytes) { cuda(cudaMalloc(&at_, bytes)); }
    ~Memory() { cudaFree(at_); }
    Memory(const Memory&) = delete;
    Memory& operator=(const Memory&) = delete;
    [[nodiscard]] void* get() const { return at_; }

private:
    void* at_ = nullptr;
};
}  // namespace detail

inline Engine::Engine(const std::filesystem::path& model, int) {
    static detail::Logger logger;
    std::ifstream in(model, std::ios::binary);
    const std::vector<char> plan((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
    if (plan.empty()) fail("cannot read the engine " + model.string());
    runtime_.reset(nvinfer1::createInferRuntime(logger));
    if (runtime_) engine_.reset(runtime_->deserializeCudaEngine(plan.data(), plan.size()));
    if (engine_) context_.reset(engine_->createExecutionContext());
    if (!context_) fail("TensorRT cannot load the engine " + model.string() + " on this GPU");
}

inline std::vector<float> Engine::run(std::vector<float>& tensor, const std::vector<std::int64_t>& shape) {
    nvinfer1::Dims dims{};
    dims.nbDims = static_cast<std::int32_t>(shape.size());
    std::copy(shape.begin(), shape.end(), dims.d);
    if (!context_->setInputShape("image", dims)) fail("a tile of this size is outside of the engine's profile");
    const nvinfer1::Dims out = context_->getTensorShape("logits");
    std::size_t count = 1;
    for (std::int32_t i = 0; i < out.nbDims; ++i) count *= static_cast<std::size_t>(out.d[i]);
    std::vector<float> logits(count);
    const detail::Memory given(tensor.size() * sizeof(float)), found(count * sizeof(float));
    context_->setTensorAddress("image", given.get());
    context_->setTensorAddress("logits", found.get());
    detail::cuda(cudaMemcpy(given.get(), tensor.data(), tensor.size() * sizeof(float), cudaMemcpyHostToDevice));
    if (!context_->enqueueV3(nullptr)) fail("TensorRT cannot run this tile");
    detail::cuda(cudaMemcpy(logits.data(), found.get(), count * sizeof(float), cudaMemcpyDeviceToHost));
    return logits;
}

#endif

// -------------------------------------------------------------------------------------------------- network

class Network {
public:
    // folder: of `unet export --to cpp`. threads 0: as many as the engine takes. model: another file of the network in
    // the folder, such as a TensorRT engine; empty: the ONNX file.
    explicit Network(const std::filesystem::path& folder, int threads = 0, const std::string& model = "")
        : facts_(folder / "network.txt"), engine_(folder / (model.empty() ? facts_.text("model") : model), threads) {
        dims_ = facts_.number("spatial_dims");
        channels_ = facts_.number("in_channels");
        outputs_ = facts_.number("out_channels");
        mean_ = facts_.numbers<float>("mean");
        std_ = facts_.numbers<float>("std");
        if ((dims_ != 2 && dims_ != 3) || mean_.size() != channels_ || std_.size() != channels_) fail("network.txt is damaged");
        for (std::size_t a = 0; a < dims_; ++a) {
            const auto n = facts_.numbers<long>("axis" + std::to_string(a));
            if (n.size() != 6 || n[1] < 1) fail("network.txt: expected six numbers as axis" + std::to_string(a));
            axes_[3 - dims_ + a] = {n[0], n[1], n[2], n[3], n[4], n[5]};
        }
        std::istringstream names(facts_.text("class_names"));
        for (std::string name; std::getline(names, name, '\t');) class_names_.push_back(name);
    }

    [[nodiscard]] const Facts& facts() const { return facts_; }
    [[nodiscard]] const std::vector<std::string>& class_names() const { return class_names_; }
    [[nodiscard]] std::size_t spatial_dims() const { return dims_; }

    // A smaller limit for tiles, for all axes, where memory is short: the result is the same. 0: the network's own.
    void limit_tile(long pixels) { limit_ = pixels; }

    // progress(tiles done, tiles) returns false to stop, which throws. Calls must not overlap: an engine runs one tile
    // at a time.
    Segmentation segment(const Image& image, bool logits = false,
                         const std::function<bool(std::size_t, std::size_t)>& progress = {}) {
        if (image.channels != channels_)
            fail("the image has " + std::to_string(image.channels) + " channels; the network takes " + std::to_string(channels_));
        if (dims_ == 2 && image.size[0] != 1) fail("the network takes images; this is a stack: give its planes one by one");
        const std::size_t pixels = image.size[0] * image.size[1] * image.size[2];
        if (image.values.size() != pixels * channels_) fail("the image's values do not match its size");
        std::vector<AxisPlan> plans;
        for (std::size_t a = 0; a < 3; ++a) plans.push_back(plan_axis(static_cast<long>(image.size[a]), limited(axes_[a])));
        Segmentation result{std::vector<std::uint8_t>(pixels), std::vector<float>(logits ? pixels * outputs_ : 0)};
        const std::size_t total = plans[0].starts.size() * plans[1].starts.size() * plans[2].starts.size();
        std::size_t done = 0;
        for (std::size_t z = 0; z < plans[0].starts.size(); ++z)
            for (std::size_t y = 0; y < plans[1].starts.size(); ++y)
                for (std::size_t x = 0; x < plans[2].starts.size(); ++x) {
                    tile(image, plans, {z, y, x}, result);
                    if (progress && !progress(++done, total)) fail("stopped");
                }
        return result;
    }

private:
    [[nodiscard]] Axis limited(Axis axis) const {
        if (limit_ <= 0 || axis.tile == 0 || limit_ >= axis.tile) return axis;
        const long smallest = 2 * axis.margin + axis.halo_low + axis.halo_high + axis.step;
        long fits = axis.minimum;
        while (fits < smallest || fits + axis.step <= limit_) fits += axis.step;
        axis.tile = fits;
        return axis;
    }

    void tile(const Image& image, const std::vector<AxisPlan>& plans, const Size& at, Segmentation& result) {
        std::array<std::vector<std::size_t>, 3> index;
        std::vector<std::int64_t> shape{1, static_cast<std::int64_t>(channels_)};
        std::array<std::size_t, 3> out{}, low{}, high{}, start{};
        for (std::size_t a = 0; a < 3; ++a) {
            const AxisPlan& plan = plans[a];
            index[a] = mirror(plan.starts[at[a]] - plan.margin, plan.tile, static_cast<long>(image.size[a]));
            if (a >= 3 - dims_) shape.push_back(plan.tile);
            out[a] = static_cast<std::size_t>(plan.tile - 2 * plan.margin);
            low[a] = static_cast<std::size_t>(plan.edges[at[a]]);
            high[a] = static_cast<std::size_t>(plan.edges[at[a] + 1]);
            start[a] = static_cast<std::size_t>(plan.starts[at[a]]);
        }
        const std::size_t plane = index[0].size() * index[1].size() * index[2].size();
        std::vector<float> tensor(channels_ * plane);
        auto to = tensor.begin();
        for (std::size_t c = 0; c < channels_; ++c) {
            const float mean = mean_[c] * image.full_scale, std = std_[c] * image.full_scale;
            for (const std::size_t z : index[0])
                for (const std::size_t y : index[1]) {
                    const std::size_t row = (z * image.size[1] + y) * image.size[2];
                    for (const std::size_t x : index[2]) *to++ = (image.values[(row + x) * channels_ + c] - mean) / std;
                }
        }
        const std::vector<float> found = engine_.run(tensor, shape);
        const std::size_t count = out[0] * out[1] * out[2];
        if (found.size() != outputs_ * count) fail("the network's output has another size than network.txt says");
        for (std::size_t z = low[0]; z < high[0]; ++z)
            for (std::size_t y = low[1]; y < high[1]; ++y)
                for (std::size_t x = low[2]; x < high[2]; ++x) {
                    const std::size_t from = ((z - start[0]) * out[1] + y - start[1]) * out[2] + x - start[2];
                    const std::size_t pixel = (z * image.size[1] + y) * image.size[2] + x;
                    std::size_t best = outputs_ == 1 && found[from] > 0 ? 1 : 0;
                    for (std::size_t k = 1; k < outputs_; ++k)
                        if (found[k * count + from] > found[best * count + from]) best = k;
                    result.labels[pixel] = static_cast<std::uint8_t>(best);
                    for (std::size_t k = 0; k < outputs_ && !result.logits.empty(); ++k)
                        result.logits[pixel * outputs_ + k] = found[k * count + from];
                }
    }

    Facts facts_;
    Engine engine_;
    std::size_t dims_ = 2, channels_ = 1, outputs_ = 1;
    long limit_ = 0;
    std::vector<float> mean_, std_;
    std::array<Axis, 3> axes_{};
    std::vector<std::string> class_names_;
};

}  // namespace unet
