/* LeNet on handwritten digits through the C interface, quantized three ways, as the Rust program `lenet` has it: the codes of every
 * layer, and the last accumulators or logits, go to a file.
 *   lenet ISA SCHEME DATA IMAGES RESULTS
 * DATA is what tests/lenet.rs writes: weights, calibration activations and digits, as floats.
 * The network: convolution 1→10, 5×5 · max-pool 2×2 · ReLU · convolution 10→20, 5×5 · max-pool 2×2 · ReLU · linear 320→50 · ReLU ·
 * linear 50→10, on channels-last images. C99, and C++11 too. */
#include "check.h"

enum { BATCH = 40, CALIBRATION_BATCH = 32, LAYERS = 4, CLASSES = 10 };

static const zp_granularity TENSOR = {ZP_GRANULARITY_KIND_TENSOR, 0, 0, 0};
static const zp_rounding NEAREST = {ZP_ROUNDING_KIND_NEAREST, 0, 0};
static const zp_codes U8 = {ZP_TYPE_U8, 0, 255};
static const zp_codes NARROW = {ZP_TYPE_I8, -127, 127};

/* Weights [outputs, channels, height, width] of every layer, and the elements of its input for an image. */
static const zp_shape SHAPES[LAYERS] = {{{10, 1, 5, 5}}, {{20, 10, 5, 5}}, {{50, 320, 1, 1}}, {{10, 50, 1, 1}}};
static const size_t INPUTS[LAYERS] = {28 * 28, 12 * 12 * 10, 4 * 4 * 20, 50};
/* The elements of the result for an image, and of it after the pooling. */
static const size_t OUTPUTS[LAYERS] = {24 * 24 * 10, 8 * 8 * 20, 50, 10};

static zp_exec exec = {ZP_ISA_BEST, NULL};
static FILE *results;

/* A layer: its parameters, and a convolution or weights. */
struct layer {
    const float *values, *bias;
    zp_params *params;
    const float *scales;
    zp_conv2d *conv;
    zp_weights *weights;
    zp_params *input;
    zp_stage *stage;
};

static zp_view view(zp_type type, const void *data, size_t rows, size_t columns)
{
    zp_view view = {type, NULL, 0, 0, 0};
    view.data = data, view.rows = rows, view.columns = columns;
    return view;
}

static zp_view_mut view_mut(zp_type type, void *data, size_t rows, size_t columns)
{
    zp_view_mut view = {type, NULL, 0, 0, 0};
    view.data = data, view.rows = rows, view.columns = columns;
    return view;
}

static size_t elements(zp_shape shape)
{
    return shape.axes[0] * shape.axes[1] * shape.axes[2] * shape.axes[3];
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static void *allocate(size_t bytes)
{
    void *memory = malloc(bytes);
    CHECK(memory != NULL);
    return memory;
}

#define NEW(type, count) ((type *)allocate((count) * sizeof(type)))

/* Floats of the file, which the caller frees. */
static float *take(FILE *file, size_t count)
{
    float *values = NEW(float, count);
    CHECK(fread(values, sizeof *values, count, file) == count);
    return values;
}

static void keep(const void *data, size_t bytes)
{
    CHECK(fwrite(data, 1, bytes, results) == bytes);
}

/* The weights as narrow codes with a scale for every output; the bias is in the accumulators, unless `input` is NULL. */
static void make_layer(struct layer *layer, zp_shape shape, zp_scale scale)
{
    const size_t count = elements(shape), outputs = shape.axes[0];
    const zp_scheme symmetric = {ZP_SCALE_FLOAT, ZP_OFFSET_ZERO, ZP_ROUNDING_KIND_NEAREST};
    zp_scheme scheme = symmetric;
    zp_granularity per_output;
    zp_bias bias = {NULL, 0, NULL};
    const zp_bias *given = layer->input != NULL ? &bias : NULL;
    int8_t *codes = NEW(int8_t, count);
    scheme.scale = scale;
    bias.values = layer->bias, bias.count = outputs, bias.x = layer->input;
    OK(zp_granularity_channel(shape.axes, 4, 0, &per_output, &message));
    OK(zp_params_fit(&exec, view(ZP_TYPE_F32, layer->values, 1, count), NARROW, scheme, per_output, &layer->params, &message));
    OK(zp_params_get(layer->params, NULL, NULL, &layer->scales, NULL, NULL, &message));
    OK(zp_quantize(&exec, view(ZP_TYPE_F32, layer->values, 1, count), layer->params, NEAREST,
                   view_mut(ZP_TYPE_I8, codes, 1, count), &message));
    if (shape.axes[2] == 1) {
        OK(zp_weights_pack(&exec, ZP_TYPE_U8, view(ZP_TYPE_I8, codes, outputs, count / outputs), layer->params, ZP_ORDER_ROWS,
                           given, &layer->weights, &message));
    } else {
        OK(zp_conv2d_new(&exec, ZP_TYPE_U8, view(ZP_TYPE_I8, codes, 1, count), shape, layer->params,
                         zp_window_of(shape.axes[2], shape.axes[3]), 1, given, &layer->conv, &message));
    }
    free(codes);
}

static void free_layer(struct layer *layer)
{
    OK(zp_params_free(layer->params, &message));
    OK(zp_params_free(layer->input, &message));
    OK(zp_conv2d_free(layer->conv, &message));
    OK(zp_weights_free(layer->weights, &message));
    OK(zp_stage_free(layer->stage, &message));
}

/* The result of a layer: of a convolution of images of this shape, which becomes that of the result, or of a product. */
static void forward(const struct layer *layer, const uint8_t *codes, zp_shape *shape, size_t images, const zp_params *input,
                    const zp_stage *stage, zp_type type, void *out)
{
    if (layer->conv != NULL) {
        zp_shape output;
        OK(zp_conv2d_output_shape(layer->conv, *shape, &output, &message));
        OK(zp_conv2d_forward(&exec, layer->conv, view(ZP_TYPE_U8, codes, 1, elements(*shape)), *shape, input, stage,
                             view_mut(type, out, 1, elements(output)), &message));
        *shape = output;
    } else {
        size_t depth = 0, outputs = 0;
        OK(zp_weights_get(layer->weights, &depth, &outputs, &message));
        OK(zp_matmul(&exec, view(ZP_TYPE_U8, codes, images, depth), input, layer->weights, stage,
                     view_mut(type, out, images, outputs), &message));
    }
}

/* Max-pooling 2×2. */
static uint8_t *pool(const uint8_t *codes, zp_shape *shape)
{
    zp_window window = zp_window_of(2, 2);
    zp_shape output;
    uint8_t *out;
    window.stride[0] = window.stride[1] = 2;
    OK(zp_max_pool2d_output_shape(window, *shape, &output, &message));
    out = NEW(uint8_t, elements(output));
    OK(zp_max_pool2d(&exec, window, view(ZP_TYPE_U8, codes, 1, elements(*shape)), *shape,
                     view_mut(ZP_TYPE_U8, out, 1, elements(output)), &message));
    keep(out, elements(output));
    *shape = output;
    return out;
}

/* Static ranges: only integers lead from the input's codes to the last accumulators. */
static void run_static(const struct layer *layers, const float *images, size_t count)
{
    zp_shape shape = {{0, 28, 28, 1}};
    uint8_t *codes = NEW(uint8_t, count * INPUTS[0]), *next;
    int32_t *accumulators = NEW(int32_t, count * CLASSES);
    size_t i;
    shape.axes[0] = count;
    OK(zp_quantize(&exec, view(ZP_TYPE_F32, images, 1, count * INPUTS[0]), layers[0].input, NEAREST,
                   view_mut(ZP_TYPE_U8, codes, 1, count * INPUTS[0]), &message));
    keep(codes, count * INPUTS[0]);
    for (i = 0; i < LAYERS - 1; ++i) {
        next = NEW(uint8_t, count * OUTPUTS[i]);
        forward(&layers[i], codes, &shape, count, layers[i].input, layers[i].stage, ZP_TYPE_U8, next);
        keep(next, count * OUTPUTS[i]);
        free(codes);
        codes = next;
        if (layers[i].conv != NULL) {
            codes = pool(next, &shape);
            free(next);
        }
    }
    forward(&layers[i], codes, &shape, count, layers[i].input, zp_stage_accumulators(), ZP_TYPE_I32, accumulators);
    keep(accumulators, count * CLASSES * sizeof *accumulators);
    free(codes);
    free(accumulators);
}

/* Codes with the range of every image, from 0 on: that is the ReLU, too. */
static uint8_t *quantize_images(const float *x, size_t count, size_t length, zp_params **params)
{
    const zp_scheme asymmetric = {ZP_SCALE_FLOAT, ZP_OFFSET_INTEGER, ZP_ROUNDING_KIND_NEAREST};
    size_t shape[2], i;
    zp_granularity per_image;
    zp_range ranges[BATCH];
    uint8_t *codes = NEW(uint8_t, count * length);
    shape[0] = count, shape[1] = length;
    OK(zp_granularity_channel(shape, 2, 0, &per_image, &message));
    OK(zp_ranges(&exec, view(ZP_TYPE_F32, x, 1, count * length), per_image, ranges, count, &message));
    for (i = 0; i < count; ++i) {
        ranges[i].min = 0.0F;
        if (ranges[i].max < 0.0F) ranges[i].max = 0.0F;
    }
    OK(zp_params_from_ranges(U8, asymmetric, per_image, ranges, count, params, &message));
    OK(zp_quantize(&exec, view(ZP_TYPE_F32, x, 1, count * length), *params, NEAREST,
                   view_mut(ZP_TYPE_U8, codes, 1, count * length), &message));
    keep(codes, count * length);
    return codes;
}

/* Dynamic ranges: floats between the layers. */
static void run_dynamic(const struct layer *layers, const float *images, size_t count)
{
    zp_shape shape = {{0, 28, 28, 1}};
    const float *x = images;
    float *out = NULL;
    size_t i, length = INPUTS[0];
    shape.axes[0] = count;
    for (i = 0; i < LAYERS; ++i) {
        zp_params *params = NULL, *pooled = NULL;
        uint8_t *codes = quantize_images(x, count, length, &params), *after_pool;
        free(out);
        if (i == 1 || i == 2) {
            zp_granularity per_image;
            size_t images_shape[2];
            after_pool = pool(codes, &shape);
            free(codes);
            codes = after_pool;
            images_shape[0] = count, images_shape[1] = INPUTS[i];
            OK(zp_granularity_channel(images_shape, 2, 0, &per_image, &message));
            OK(zp_params_with_granularity(params, per_image, &pooled, &message));
        }
        out = NEW(float, count * OUTPUTS[i]);
        forward(&layers[i], codes, &shape, count, pooled != NULL ? pooled : params, layers[i].stage, ZP_TYPE_F32, out);
        free(codes);
        OK(zp_params_free(params, &message));
        OK(zp_params_free(pooled, &message));
        x = out, length = OUTPUTS[i];
    }
    keep(out, count * CLASSES * sizeof *out);
    free(out);
}

/* The parameters of a layer's input, by the ranges that were observed. */
static zp_params *calibrate(const float *activations, size_t images, size_t length, zp_scale scale)
{
    const zp_scheme asymmetric = {ZP_SCALE_FLOAT, ZP_OFFSET_INTEGER, ZP_ROUNDING_KIND_NEAREST};
    zp_scheme scheme = asymmetric;
    zp_observer *observer = NULL;
    zp_params *params = NULL;
    zp_range range;
    size_t i;
    scheme.scale = scale;
    OK(zp_observer_new("minmax", U8, scheme, length, false, &observer, &message));
    for (i = 0; i < images; i += CALIBRATION_BATCH) {
        const size_t batch = smaller(images - i, CALIBRATION_BATCH);
        OK(zp_observer_observe(&exec, observer, view(ZP_TYPE_F32, activations + i * length, batch, length), &message));
    }
    OK(zp_observer_range(observer, &range, NULL, &message));
    OK(zp_params_from_ranges(U8, scheme, TENSOR, &range, 1, &params, &message));
    OK(zp_observer_free(observer, &message));
    return params;
}

int main(int argc, char **argv)
{
    struct layer layers[LAYERS];
    float *values[LAYERS], *biases[LAYERS], *activations[LAYERS], *images;
    const zp_activation relu = {ZP_ACTIVATION_KIND_RELU, 0, 0};
    uint32_t counts[2];
    size_t i, count;
    int is_dynamic, is_shift;
    FILE *data;
    CHECK(argc == 6);
    OK(zp_isa_named(argv[1], &exec.isa, &message));
    is_dynamic = strcmp(argv[2], "dynamic") == 0, is_shift = strcmp(argv[2], "shift") == 0;
    CHECK(is_dynamic || is_shift || strcmp(argv[2], "static") == 0);
    data = fopen(argv[3], "rb"), results = fopen(argv[5], "wb");
    CHECK(data != NULL && results != NULL);
    CHECK(fread(counts, sizeof *counts, 2, data) == 2);
    memset(layers, 0, sizeof layers);
    for (i = 0; i < LAYERS; ++i) {
        layers[i].values = values[i] = take(data, elements(SHAPES[i]));
        layers[i].bias = biases[i] = take(data, SHAPES[i].axes[0]);
    }
    for (i = 0; i < LAYERS; ++i) activations[i] = take(data, counts[0] * INPUTS[i]);
    images = take(data, counts[1] * INPUTS[0]);
    count = (size_t)strtoul(argv[4], NULL, 10);
    CHECK(count <= counts[1]);
    for (i = 0; i < LAYERS; ++i) {
        const zp_scale scale = is_shift ? ZP_SCALE_POWER_OF_TWO : ZP_SCALE_FLOAT;
        if (!is_dynamic) layers[i].input = calibrate(activations[i], counts[0], INPUTS[i], scale);
        make_layer(&layers[i], SHAPES[i], scale);
    }
    for (i = 0; i < LAYERS; ++i) {
        const zp_rule rule = is_shift ? ZP_RULE_SHIFT : ZP_RULE_FIXED_POINT;
        struct layer *layer = &layers[i];
        if (is_dynamic) {
            OK(zp_stage_dequantize_new(layer->bias, SHAPES[i].axes[0], &layer->stage, &message));
        } else if (i < LAYERS - 1 && layer->conv != NULL) {
            OK(zp_stage_requantize_conv2d_new(layer->conv, layer->input, layers[i + 1].input, rule, relu, &layer->stage, &message));
        } else if (i < LAYERS - 1) {
            OK(zp_stage_requantize_new(layer->weights, layer->input, layers[i + 1].input, rule, relu, &layer->stage, &message));
        }
    }
    for (i = 0; i < count; i += BATCH) {
        const size_t batch = smaller(count - i, BATCH);
        (is_dynamic ? run_dynamic : run_static)(layers, images + i * INPUTS[0], batch);
    }
    for (i = 0; i < LAYERS; ++i) {
        free_layer(&layers[i]);
        free(values[i]), free(biases[i]), free(activations[i]);
    }
    free(images);
    CHECK(fclose(data) == 0 && fclose(results) == 0);
    return 0;
}
