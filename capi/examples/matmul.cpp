// A product of int8 matrices in C++11: handles free themselves, errors are exceptions, std::thread shares the work.
//   c++ -std=c++11 matmul.cpp $(pkg-config --cflags --libs zeropoint) -pthread -o matmul && ./matmul
#include <cstdio>
#include <cmath>
#include <memory>
#include <stdexcept>
#include <thread>
#include <vector>

#include <zeropoint.h>

// Calls a function with the message that it wants last.
template <typename Function, typename... Arguments>
void call(Function function, Arguments... arguments)
{
    zp_message message;
    if (function(arguments..., &message) != ZP_ERROR_NONE) throw std::runtime_error(message.text);
}

template <typename Handle, zp_error (*release)(Handle *, zp_message *)>
struct Release {
    void operator()(Handle *handle) const { release(handle, nullptr); }
};
using Params = std::unique_ptr<zp_params, Release<zp_params, zp_params_free>>;
using Weights = std::unique_ptr<zp_weights, Release<zp_weights, zp_weights_free>>;

// Runs tasks on threads of its own, the first on the calling thread.
static void run(void *, std::size_t tasks, void (*task)(void *, std::size_t), void *data)
{
    std::vector<std::thread> threads;
    for (std::size_t i = 1; i < tasks; ++i) threads.emplace_back(task, data, i);
    task(data, 0);
    for (auto &thread : threads) thread.join();
}

static Params fit(const zp_exec &exec, zp_view x, zp_codes codes, zp_offset offset, zp_granularity granularity)
{
    zp_params *params = nullptr;
    call(zp_params_fit, &exec, x, codes, zp_scheme{ZP_SCALE_FLOAT, offset, ZP_ROUNDING_KIND_NEAREST}, granularity, &params);
    return Params(params);
}

// y = x · wᵀ for x [rows, depth] and w [outputs, depth].
static std::vector<float> matmul(const zp_exec &exec, const std::vector<float> &x, const std::vector<float> &w, std::size_t depth)
{
    const std::size_t rows = x.size() / depth, outputs = w.size() / depth, shape[2] = {outputs, depth};
    const zp_rounding nearest{ZP_ROUNDING_KIND_NEAREST, 0, 0};
    std::vector<std::uint8_t> x_codes(x.size());
    std::vector<std::int8_t> w_codes(w.size());
    std::vector<float> y(rows * outputs);
    const zp_view xv{ZP_TYPE_F32, x.data(), rows, depth, 0}, wv{ZP_TYPE_F32, w.data(), outputs, depth, 0};
    zp_granularity per_output;
    call(zp_granularity_channel, shape, std::size_t{2}, std::size_t{0}, &per_output);
    const Params x_params = fit(exec, xv, {ZP_TYPE_U8, 0, 255}, ZP_OFFSET_INTEGER, {ZP_GRANULARITY_KIND_TENSOR, 0, 0, 0});
    const Params w_params = fit(exec, wv, {ZP_TYPE_I8, -127, 127}, ZP_OFFSET_ZERO, per_output);
    call(zp_quantize, &exec, xv, x_params.get(), nearest, zp_view_mut{ZP_TYPE_U8, x_codes.data(), rows, depth, 0});
    call(zp_quantize, &exec, wv, w_params.get(), nearest, zp_view_mut{ZP_TYPE_I8, w_codes.data(), outputs, depth, 0});
    zp_weights *packed = nullptr;
    call(zp_weights_pack, &exec, ZP_TYPE_U8, zp_view{ZP_TYPE_I8, w_codes.data(), outputs, depth, 0}, w_params.get(), ZP_ORDER_ROWS,
         static_cast<const zp_bias *>(nullptr), &packed);
    const Weights weights(packed);
    call(zp_matmul, &exec, zp_view{ZP_TYPE_U8, x_codes.data(), rows, depth, 0}, x_params.get(), weights.get(), zp_stage_dequantize(),
         zp_view_mut{ZP_TYPE_F32, y.data(), rows, outputs, 0});
    return y;
}

int main()
try {
    const std::size_t rows = 256, outputs = 256, depth = 512;
    std::vector<float> x(rows * depth), w(outputs * depth);
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = std::sin(0.7F * static_cast<float>(i));
    for (std::size_t i = 0; i < w.size(); ++i) w[i] = std::sin(1.3F * static_cast<float>(i));
    const zp_threads threads{nullptr, 4, run};
    const std::vector<float> y = matmul({ZP_ISA_BEST, nullptr}, x, w, depth);
    const std::vector<float> shared = matmul({ZP_ISA_BEST, &threads}, x, w, depth);
    double worst = 0.0;
    for (std::size_t i = 0; i < rows; ++i) {
        for (std::size_t j = 0; j < outputs; ++j) {
            double sum = 0.0;
            for (std::size_t k = 0; k < depth; ++k) sum += double{x[i * depth + k]} * w[j * depth + k];
            worst = std::fmax(worst, std::fabs(sum - y[i * outputs + j]));
        }
    }
    std::printf("largest error %.3f; %s on four threads\n", worst, y == shared ? "the same bytes" : "other bytes");
    return y == shared && worst < 0.5 ? 0 : 1;
} catch (const std::exception &error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 1;
}
