// A consumer in C++20: its data is an object, made in connect and ended in release.
#include <new>
#include <string>

#include <sluice/consumer.h>

namespace {

struct Talk {
    std::string last;
};

Talk *talk_of(sluice_conn *conn) { return static_cast<Talk *>(sluice_data(conn)); }

void on_connect(sluice_conn *conn) {
    new (sluice_data(conn)) Talk;
    sluice_accept(conn, nullptr);
}

// Answers each message with the one before it.
void on_receive(sluice_conn *conn, sluice_message message) {
    Talk *talk = talk_of(conn);
    sluice_send(conn, sluice_text(talk->last.data(), talk->last.size()));
    talk->last.assign(static_cast<const char *>(message.data), message.size);
}

void on_release(sluice_conn *conn) { talk_of(conn)->~Talk(); }

} // namespace

SLUICE_CONSUMER("cplusplus", "1.0", .data_size = sizeof(Talk), .connect = on_connect,
                .receive = on_receive, .release = on_release)
