// SPDX-License-Identifier: Apache-2.0
/*
 * scan ADDRESS [FIRST-LAST]: prints as JSON which TCP and UDP ports of ADDRESS answer, of all or of these, and how:
 * "open", "refused" (a reset, or "port unreachable"), "prohibited" (any other ICMP error). Silent ones are left out.
 *
 * C without any library, so that it runs in a guest. It sends bare SYNs by a raw socket, so it needs root; the
 * kernel answers what is open with a reset, since it knows of no such connection.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/errqueue.h>
#include <net/if.h>
#include <netinet/icmp6.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SOURCE_PORT = 20202, BURST = 32, RESOLVE_MS = 500, QUIET_MS = 2000, TRIES = 5000 };

static const char *const names[] = {"silent", "open", "refused", "prohibited"};
enum state { SILENT, OPEN, REFUSED, PROHIBITED };

/* A query that a name server answers (`guest.lab`, type A); an echo service answers anything. */
static const char query[] = "\x12\x34\x01\0\0\1\0\0\0\0\0\0\5guest\3lab\0\0\1\0\1";

static union {
  struct sockaddr any;
  struct sockaddr_in v4;
  struct sockaddr_in6 v6;
} peer, own;
static socklen_t length;
static int is6, tcp, udp;
static uint8_t tcp_ports[65536], udp_ports[65536];

static void die(const char *what) {
  perror(what);
  exit(1);
}

static void parse(char *address) {
  char *device = strchr(address, '%');
  if (device != NULL) *device++ = '\0';
  is6 = strchr(address, ':') != NULL;
  length = is6 ? sizeof peer.v6 : sizeof peer.v4;
  peer.any.sa_family = is6 ? AF_INET6 : AF_INET;
  if (device != NULL) peer.v6.sin6_scope_id = if_nametoindex(device);
  void *to = is6 ? (void *)&peer.v6.sin6_addr : (void *)&peer.v4.sin_addr;
  if (inet_pton(peer.any.sa_family, address, to) != 1) die(address);
}

static int open_socket(int type, int protocol) {
  int fd = socket(peer.any.sa_family, type, protocol);
  if (fd < 0) die("socket");
  /* Answers may come in a heap; without privilege they have to fit the usual room. */
  int on = 1, set, room = 4 << 20;
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
  if (is6) set = setsockopt(fd, IPPROTO_IPV6, IPV6_RECVERR, &on, sizeof on);
  else set = setsockopt(fd, IPPROTO_IP, IP_RECVERR, &on, sizeof on);
  if (set < 0) die("ask for ICMP errors");
  return fd;
}

/* An ICMP error, or a full queue, may fail what is sent next. */
static void send_to(int fd, const void *bytes, size_t size, int port) {
  __typeof__(peer) to = peer;
  if (fd == udp) *(is6 ? &to.v6.sin6_port : &to.v4.sin_port) = htons(port);
  for (int tries = 0; tries < TRIES; tries++) {
    if (sendto(fd, bytes, size, 0, &to.any, length) >= 0) return;
    if (errno == ENOBUFS || errno == EAGAIN) usleep(1000);
  }
  die("send");
}

static uint32_t sum(const void *bytes, size_t size) {
  const uint16_t *words = bytes;
  uint32_t total = 0;
  for (size_t i = 0; i < size / 2; i++) total += words[i];
  return total;
}

static void send_syn(int port) {
  struct tcphdr syn = {
      .source = htons(SOURCE_PORT), .dest = htons(port), .doff = sizeof syn / 4, .syn = 1, .window = htons(1024)};
  if (!is6) { /* The kernel does it for IPv6. */
    uint32_t total = sum(&own.v4.sin_addr, 4) + sum(&peer.v4.sin_addr, 4) + sum(&syn, sizeof syn);
    total += htons(IPPROTO_TCP) + htons(sizeof syn);
    while (total >> 16) total = (total & 0xffff) + (total >> 16);
    syn.check = ~total;
  }
  send_to(tcp, &syn, sizeof syn, port);
}

static int hear_error(int fd) {
  uint8_t bytes[256], control[512];
  __typeof__(peer) to;
  struct iovec part = {bytes, sizeof bytes};
  struct msghdr message = {.msg_name = &to,
                           .msg_namelen = sizeof to,
                           .msg_iov = &part,
                           .msg_iovlen = 1,
                           .msg_control = control,
                           .msg_controllen = sizeof control};
  ssize_t size = recvmsg(fd, &message, MSG_ERRQUEUE | MSG_DONTWAIT);
  if (size < 0) return 0;
  for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c != NULL; c = CMSG_NXTHDR(&message, c)) {
    if (c->cmsg_type != (is6 ? IPV6_RECVERR : IP_RECVERR)) continue;
    const struct sock_extended_err *error = (const void *)CMSG_DATA(c);
    int unreachable = is6 ? error->ee_type == ICMP6_DST_UNREACH && error->ee_code == ICMP6_DST_UNREACH_NOPORT
                          : error->ee_type == ICMP_UNREACH && error->ee_code == ICMP_UNREACH_PORT;
    uint8_t state = unreachable ? REFUSED : PROHIBITED;
    if (fd == udp) udp_ports[ntohs(is6 ? to.v6.sin6_port : to.v4.sin_port)] = state;
    else if (size >= 4) tcp_ports[bytes[2] << 8 | bytes[3]] = state;
  }
  return 1;
}

static int hear_tcp(void) {
  uint8_t bytes[256];
  ssize_t size = recv(tcp, bytes, sizeof bytes, MSG_DONTWAIT);
  if (size < 0) return 0;
  size_t head = is6 ? 0 : (size_t)(bytes[0] & 15) * 4; /* IPv4 comes with its header. */
  struct tcphdr answer;
  if ((size_t)size < head + sizeof answer) return 1;
  memcpy(&answer, bytes + head, sizeof answer);
  if (ntohs(answer.dest) != SOURCE_PORT) return 1;
  if (answer.syn && answer.ack) tcp_ports[ntohs(answer.source)] = OPEN;
  else if (answer.rst && tcp_ports[ntohs(answer.source)] == SILENT) tcp_ports[ntohs(answer.source)] = REFUSED;
  return 1;
}

static int hear_udp(void) {
  uint8_t bytes[256];
  __typeof__(peer) from;
  socklen_t room = sizeof from;
  if (recvfrom(udp, bytes, sizeof bytes, MSG_DONTWAIT, &from.any, &room) < 0) return 0;
  udp_ports[ntohs(is6 ? from.v6.sin6_port : from.v4.sin_port)] = OPEN;
  return 1;
}

static int hear(void) {
  int heard = 0;
  while (hear_tcp() | hear_udp() | hear_error(tcp) | hear_error(udp)) heard = 1;
  return heard;
}

static void print(const char *name, const uint8_t *ports) {
  printf("\"%s\":{", name);
  const char *comma = "";
  for (int port = 1; port < 65536; port++) {
    if (ports[port] == SILENT) continue;
    printf("%s\"%d\":\"%s\"", comma, port, names[ports[port]]);
    comma = ",";
  }
  printf("}");
}

int main(int argc, char **argv) {
  int first = 1, last = 65535;
  if (argc < 2 || (argc > 2 && sscanf(argv[2], "%d-%d", &first, &last) != 2) || first < 1 || last > 65535) {
    fprintf(stderr, "usage: scan ADDRESS [FIRST-LAST]\n");
    return 2;
  }
  parse(argv[1]);
  tcp = open_socket(SOCK_RAW, IPPROTO_TCP);
  udp = open_socket(SOCK_DGRAM, 0);
  int checksum = offsetof(struct tcphdr, check);
  if (is6 && setsockopt(tcp, IPPROTO_IPV6, IPV6_CHECKSUM, &checksum, sizeof checksum) < 0) die("checksum");
  /* So that it hears this address alone; and the checksum covers our own. */
  socklen_t room = sizeof own;
  if (connect(tcp, &peer.any, length) < 0 || getsockname(tcp, &own.any, &room) < 0) die("connect");

  /* Few packets wait for a neighbour to be found, by ARP or its like; the rest would be lost. */
  send_syn(first);
  usleep(RESOLVE_MS * 1000);
  for (int port = first; port <= last; port++) {
    send_syn(port);
    send_to(udp, query, sizeof query - 1, port);
    if (port % BURST == 0) hear();
  }
  struct pollfd fds[] = {{tcp, POLLIN, 0}, {udp, POLLIN, 0}};
  while (poll(fds, 2, QUIET_MS) > 0) hear();

  printf("{");
  print("tcp", tcp_ports);
  printf(",");
  print("udp", udp_ports);
  printf("}\n");
  return 0;
}
