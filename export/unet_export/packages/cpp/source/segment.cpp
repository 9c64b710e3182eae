// segment FOLDER IMAGE MASK [TILE]   segments a PGM or TIFF image; MASK is .pgm or .tif, with class numbers
// segment FOLDER --check             computes the example and compares it with the float64 reference
#include <chrono>
#include <cstdio>

#include "images.hpp"

namespace {

int check(unet::Network& network, const std::filesystem::path& folder) {
    const auto& facts = network.facts();
    const auto size = facts.numbers<std::size_t>("golden_size");
    const auto read = [&](const char* name) {
        const auto bytes = unet::detail::bytes_of(folder / name);
        std::vector<float> values(bytes.size() / sizeof(float));
        std::copy(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(values.size() * sizeof(float)),
                  reinterpret_cast<std::uint8_t*>(values.data()));
        return values;
    };
    const unet::Image image{read("golden_image.f32"), {size.at(0), size.at(1), size.at(2)}, facts.number("in_channels"), facts.numbers<float>("golden_full_scale").at(0)};
    const auto expected = read("golden_logits.f32");
    const auto found = network.segment(image, true).logits;
    if (found.size() != expected.size()) unet::fail("the example's logits have another size");
    double worst = 0, largest = 0;
    for (std::size_t i = 0; i < found.size(); ++i) {
        const double difference = std::abs(static_cast<double>(found[i]) - expected[i]);
        if (!(difference <= worst)) worst = difference;
        largest = std::max(largest, std::abs(static_cast<double>(expected[i])));
    }
    const double bound = facts.numbers<double>("bound").at(0);
    const bool within = worst <= bound * largest;
    std::printf("%.1e from the float64 reference (bound %.0e): %s\n", worst / largest, bound, within ? "passed" : "FAILED");
    return within ? 0 : 1;
}

int segment(unet::Network& network, const char* from, const char* to) {
    const unet::Image image = unet::read_image(from);
    const auto began = std::chrono::steady_clock::now();
    std::vector<std::uint8_t> labels;
    const std::size_t parts = network.spatial_dims() == 3 ? 1 : image.size[0];  // a 2-D network: plane by plane
    const std::size_t values = image.values.size() / parts;
    for (std::size_t p = 0; p < parts; ++p) {
        const auto first = image.values.begin() + static_cast<std::ptrdiff_t>(p * values);
        const unet::Image part{{first, first + static_cast<std::ptrdiff_t>(values)}, {image.size[0] / parts, image.size[1], image.size[2]}, image.channels, image.full_scale};
        const auto found = network.segment(part).labels;
        labels.insert(labels.end(), found.begin(), found.end());
    }
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - began;
    unet::write_labels(to, labels, image.size);
    std::printf("%zu x %zu x %zu pixels in %.2f s\n", image.size[0], image.size[1], image.size[2], seconds.count());
    std::vector<std::size_t> counts(256);
    for (const std::uint8_t label : labels) ++counts[label];
    for (std::size_t k = 0; k < network.class_names().size(); ++k)
        std::printf("%s: %.2f %%\n", network.class_names()[k].c_str(), 100.0 * static_cast<double>(counts[k]) / static_cast<double>(labels.size()));
    return 0;
}

}  // namespace

int main(int count, char** arguments) try {
    const bool checks = count == 3 && std::string(arguments[2]) == "--check";
    if (!checks && count != 4 && count != 5) {
        std::fprintf(stderr, "usage: segment FOLDER IMAGE MASK [TILE]\n       segment FOLDER --check\n");
        return 2;
    }
    unet::Network network(arguments[1]);
    if (count == 5) network.limit_tile(std::stol(arguments[4]));
    return checks ? check(network, arguments[1]) : segment(network, arguments[2], arguments[3]);
} catch (const std::exception& error) {
    std::fprintf(stderr, "segment: %s\n", error.what());
    return 2;
}
