// SPDX-License-Identifier: Apache-2.0
/*
 * frames send: sends what stands on its input: an interface, a space, a frame in hex, a line each.
 * frames hear: prints of each frame with {frame NAME} in it where it was heard, "in" or "out", and the name. Ends
 * with its input.
 *
 * C without any library, so that it runs in a guest; packet sockets, so it needs root.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ROOM = 4 << 20, LARGEST = 2048 };
static const char mark[] = "{frame ";

static void die(const char *what) {
  perror(what);
  exit(1);
}

static int hex(char digit) {
  const char *digits = "0123456789abcdef", *at = strchr(digits, digit);
  return at == NULL || digit == '\0' ? -1 : (int)(at - digits);
}

static void send_all(int fd) {
  static char line[2 * LARGEST + IFNAMSIZ + 2];
  while (fgets(line, sizeof line, stdin) != NULL) {
    unsigned char frame[LARGEST];
    size_t size = 0;
    char *digits = strchr(line, ' ');
    if (digits == NULL) continue;
    *digits++ = '\0';
    for (; size < sizeof frame && hex(digits[0]) >= 0 && hex(digits[1]) >= 0; digits += 2)
      frame[size++] = (unsigned char)(hex(digits[0]) << 4 | hex(digits[1]));
    struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(line)};
    if (to.sll_ifindex == 0) die(line);
    if (sendto(fd, frame, size, 0, (struct sockaddr *)&to, sizeof to) < 0) die("send");
  }
}

static void hear_one(int fd) {
  unsigned char frame[LARGEST];
  struct sockaddr_ll from;
  socklen_t length = sizeof from;
  ssize_t size = recvfrom(fd, frame, sizeof frame, MSG_DONTWAIT, (struct sockaddr *)&from, &length);
  if (size <= 0) return;
  const char *text = memmem(frame, (size_t)size, mark, strlen(mark));
  if (text == NULL) return;
  text += strlen(mark);
  const char *end = memchr(text, '}', (size_t)((char *)frame + size - text));
  char device[IFNAMSIZ];
  if (end == NULL || if_indextoname((unsigned)from.sll_ifindex, device) == NULL) return;
  printf("%s %s %.*s\n", device, from.sll_pkttype == PACKET_OUTGOING ? "out" : "in", (int)(end - text), text);
}

static void hear(int fd) {
  struct pollfd fds[] = {{fd, POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
  char rest[64];
  setvbuf(stdout, NULL, _IOLBF, 0);
  puts("listening");
  for (;;) {
    if (poll(fds, 2, -1) < 0) die("poll");
    if (fds[0].revents != 0) hear_one(fd);
    else if (fds[1].revents != 0 && read(STDIN_FILENO, rest, sizeof rest) <= 0) return;
  }
}

int main(int argc, char **argv) {
  int hears = argc == 2 && strcmp(argv[1], "hear") == 0, room = ROOM;
  if (!hears && (argc != 2 || strcmp(argv[1], "send") != 0)) {
    fprintf(stderr, "usage: frames send|hear\n");
    return 2;
  }
  /* One that only sends hears nothing (protocol 0, packet(7)). */
  int fd = socket(AF_PACKET, SOCK_RAW, hears ? htons(ETH_P_ALL) : 0);
  if (fd < 0) die("socket");
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
  if (hears) hear(fd);
  else send_all(fd);
  return 0;
}
