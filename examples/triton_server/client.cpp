// Segment an 8-bit grey image (PGM, P5) on a Triton server, with nothing but the operating system's sockets:
//     g++ -std=c++17 -O2 client.cpp -o client && ./client image.pgm labels.pgm [host] [port]
// It speaks the KServe v2 protocol with Triton's binary data extension over HTTP.
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fstream>
#include <iostream>
#include <sstream>
#include <string>

static int fail(const std::string& why) { std::cerr << "client: " << why << "\n"; return 2; }

int main(int argc, char** argv) {
    if (argc < 3) return fail("usage: client image.pgm labels.pgm [host] [port]");
    std::ifstream file(argv[1], std::ios::binary);
    std::string magic; size_t width = 0, height = 0, most = 0;
    if (!(file >> magic >> width >> height >> most) || magic != "P5" || most != 255) return fail("not an 8-bit PGM (P5)");
    file.get();
    std::string pixels(width * height, '\0');
    if (!file.read(pixels.data(), pixels.size())) return fail("the image is cut short");

    std::ostringstream json;
    json << R"({"inputs":[{"name":"image","datatype":"UINT8","shape":[1,)" << height << "," << width
         << R"(,1],"parameters":{"binary_data_size":)" << pixels.size()
         << R"(}}],"outputs":[{"name":"labels","parameters":{"binary_data":true}}]})";
    std::ostringstream head;
    head << "POST /v2/models/unet/infer HTTP/1.1\r\nHost: triton\r\nConnection: close\r\nInference-Header-Content-Length: "
         << json.str().size() << "\r\nContent-Length: " << json.str().size() + pixels.size() << "\r\n\r\n";
    const std::string request = head.str() + json.str() + pixels;

    addrinfo hints{}, *found = nullptr;
    hints.ai_socktype = SOCK_STREAM;
    if (getaddrinfo(argc > 3 ? argv[3] : "localhost", argc > 4 ? argv[4] : "8000", &hints, &found)) return fail("no such host");
    int server = -1;
    for (addrinfo* a = found; a && server < 0; a = a->ai_next) {
        server = socket(a->ai_family, a->ai_socktype, a->ai_protocol);
        if (server >= 0 && connect(server, a->ai_addr, a->ai_addrlen)) { close(server); server = -1; }
    }
    freeaddrinfo(found);
    if (server < 0) return fail("the server does not answer");
    for (size_t sent = 0; sent < request.size();) {
        const ssize_t n = send(server, request.data() + sent, request.size() - sent, 0);
        if (n <= 0) return fail("the server closed the connection");
        sent += n;
    }
    std::string answer; char buffer[65536];
    for (ssize_t n; (n = recv(server, buffer, sizeof buffer, 0)) > 0;) answer.append(buffer, n);
    close(server);
    if (answer.find(" 200 ") == std::string::npos || answer.size() < pixels.size()) return fail(answer);
    // The binary output is the last thing in the answer: one byte a pixel.
    std::ofstream(argv[2], std::ios::binary) << "P5\n" << width << " " << height << "\n255\n"
                                             << answer.substr(answer.size() - pixels.size());
    std::cout << argv[1] << ": " << width << "x" << height << "\n";
}
