// Reads and writes PGM (binary, 8 or 16 bits) and TIFF (uncompressed, grey, 8 or 16 bits, stacks). For other files take
// a library, such as libtiff or OpenCV, and fill a unet::Image from it.
#pragma once

#include "unet.hpp"

namespace unet {

namespace detail {

inline std::vector<std::uint8_t> bytes_of(const std::filesystem::path& file) {
    std::ifstream in(file, std::ios::binary);
    if (!in) fail("cannot read " + file.string());
    return {(std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>()};
}

// Numbers at places of a file, in its byte order. Places beyond its end are an error.
class Reader {
public:
    Reader(std::vector<std::uint8_t> bytes, std::string name) : bytes_(std::move(bytes)), name_(std::move(name)) {}
    bool big = false;
    [[nodiscard]] std::size_t number(std::size_t at, std::size_t count) const {
        if (at > bytes_.size() || count > bytes_.size() - at) fail(name_ + " is cut off");
        std::size_t value = 0;
        for (std::size_t i = 0; i < count; ++i) value = (value << 8) | bytes_[big ? at + i : at + count - 1 - i];
        return value;
    }
    [[nodiscard]] const std::vector<std::uint8_t>& bytes() const { return bytes_; }
    [[nodiscard]] const std::string& name() const { return name_; }

private:
    std::vector<std::uint8_t> bytes_;
    std::string name_;
};

inline Image read_pgm(Reader file) {
    file.big = true;
    std::size_t at = 2;
    const auto& bytes = file.bytes();
    const auto next = [&]() {
        const auto here = [&] { return at < bytes.size() ? static_cast<int>(bytes[at]) : -1; };
        while (here() == ' ' || here() == '\t' || here() == '\r' || here() == '\n' || here() == '#') {
            if (here() == '#') while (here() != '\n' && here() != -1) ++at;
            else ++at;
        }
        std::size_t value = 0;
        if (here() < '0' || here() > '9') fail(file.name() + " is no PGM file");
        for (; here() >= '0' && here() <= '9' && value < (1u << 30); ++at) value = value * 10 + static_cast<std::size_t>(here() - '0');
        return value;
    };
    const std::size_t width = next(), height = next(), top = next();
    ++at;
    if (top != 255 && top != 65535) fail(file.name() + ": expected a largest value of 255 or 65535");
    const std::size_t each = top > 255 ? 2 : 1;
    if (width == 0 || height == 0 || width > file.bytes().size() || height > file.bytes().size() / width) fail(file.name() + " is cut off");
    Image image{std::vector<float>(width * height), {1, height, width}, 1, static_cast<float>(top)};
    for (std::size_t i = 0; i < image.values.size(); ++i) image.values[i] = static_cast<float>(file.number(at + i * each, each));
    return image;
}

inline Image read_tiff(Reader file) {
    file.big = file.bytes()[0] == 'M';
    if (file.number(2, 2) != 42) fail(file.name() + ": expected a classic TIFF file");
    Image image{{}, {0, 0, 0}, 1, 0};
    std::size_t at = file.number(4, 4), pages = 0;
    for (; at != 0; ++pages) {
        std::map<std::size_t, std::vector<std::size_t>> tags{{259, {1}}, {277, {1}}, {262, {1}}, {258, {1}}, {339, {1}}};
        const std::size_t entries = file.number(at, 2);
        for (std::size_t e = 0; e < entries; ++e) {
            const std::size_t entry = at + 2 + 12 * e, type = file.number(entry + 2, 2), count = file.number(entry + 4, 4);
            const std::size_t each = type == 3 ? 2 : type == 4 ? 4 : 0;
            if (each == 0 || count > file.bytes().size()) continue;
            const std::size_t first = count * each <= 4 ? entry + 8 : file.number(entry + 8, 4);
            auto& values = tags[file.number(entry, 2)];
            values.clear();
            for (std::size_t i = 0; i < count; ++i) values.push_back(file.number(first + i * each, each));
        }
        const auto one = [&](std::size_t tag) {
            if (tags[tag].empty()) fail(file.name() + " lacks the tag " + std::to_string(tag));
            return tags[tag][0];
        };
        const std::size_t bits = one(258), width = one(256), height = one(257);
        if (one(259) != 1 || one(277) != 1 || one(339) != 1 || (bits != 8 && bits != 16) || one(262) != 1)
            fail(file.name() + ": expected uncompressed grey values of 8 or 16 bits, black is zero");
        const float scale = bits == 8 ? 255.0f : 65535.0f;
        if (pages == 0) image = {{}, {0, height, width}, 1, scale};
        if (image.size[1] != height || image.size[2] != width || image.full_scale != scale) fail(file.name() + ": its pages differ");
        const std::size_t each = bits / 8, wanted = image.values.size() + width * height;
        if (width == 0 || height == 0 || width > file.bytes().size() || height > file.bytes().size() / width || tags[273].size() != tags[279].size())
            fail(file.name() + " is damaged");
        for (std::size_t s = 0; s < tags[273].size(); ++s)
            for (std::size_t i = 0; i + each <= tags[279][s] && image.values.size() < wanted; i += each)
                image.values.push_back(static_cast<float>(file.number(tags[273][s] + i, each)));
        if (image.values.size() != wanted) fail(file.name() + " is cut off");
        ++image.size[0];
        at = file.number(at + 2 + 12 * entries, 4);
        if (pages > file.bytes().size() / 8) fail(file.name() + ": its pages go round in a circle");
    }
    if (pages == 0) fail(file.name() + " has no pages");
    return image;
}

}  // namespace detail

// A PGM or TIFF file.
inline Image read_image(const std::filesystem::path& file) {
    auto bytes = detail::bytes_of(file);
    if (bytes.size() < 8) fail(file.string() + " is empty, or cut off");
    const bool pgm = bytes[0] == 'P' && bytes[1] == '5';
    const bool tiff = (bytes[0] == 'I' && bytes[1] == 'I') || (bytes[0] == 'M' && bytes[1] == 'M');
    if (!pgm && !tiff) fail(file.string() + ": expected a binary PGM (P5) or a TIFF file");
    detail::Reader reader(std::move(bytes), file.string());
    return pgm ? detail::read_pgm(std::move(reader)) : detail::read_tiff(std::move(reader));
}

// Class numbers as a PGM file, or by the name's ending as a TIFF file, a page a plane.
inline void write_labels(const std::filesystem::path& file, const std::vector<std::uint8_t>& labels, const Size& size) {
    const std::size_t pixels = size[1] * size[2];
    std::ofstream out(file, std::ios::binary);
    const auto put = [&](std::size_t value, int count) { for (int i = 0; i < count; ++i) out.put(static_cast<char>((value >> (8 * i)) & 255)); };
    if (file.extension() == ".tif" || file.extension() == ".tiff") {
        const std::size_t entries = 9, block = 2 + 12 * entries + 4;
        if (size[0] * (pixels + block) > 0xFFFFFF00u) fail("the mask is too large for a classic TIFF file");
        out << "II";
        put(42, 2), put(8, 4);
        for (std::size_t p = 0; p < size[0]; ++p) {
            const std::size_t start = 8 + p * (block + pixels);
            put(entries, 2);
            for (const auto& [tag, value] : std::vector<std::pair<std::size_t, std::size_t>>{
                     {256, size[2]}, {257, size[1]}, {258, 8}, {259, 1}, {262, 1}, {273, start + block}, {277, 1}, {278, size[1]}, {279, pixels}})
                put(tag, 2), put(4, 2), put(1, 4), put(value, 4);
            put(p + 1 < size[0] ? start + block + pixels : 0, 4);
            out.write(reinterpret_cast<const char*>(labels.data() + p * pixels), static_cast<std::streamsize>(pixels));
        }
    } else {
        if (size[0] != 1) fail("a PGM file holds one plane; name the mask .tif");
        out << "P5\n" << size[2] << ' ' << size[1] << "\n255\n";
        out.write(reinterpret_cast<const char*>(labels.data()), static_cast<std::streamsize>(pixels));
    }
    if (!out.flush()) fail("cannot write " + file.string());
}

}  // namespace unet
