/* Preloaded into a server that has no option to listen on one address only: whatever it binds to
   all addresses is bound to loopback. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

typedef int (*bind_function)(int, const struct sockaddr *, socklen_t);

int bind(int socket, const struct sockaddr *address, socklen_t length) {
  bind_function next = (bind_function)dlsym(RTLD_NEXT, "bind");
  struct sockaddr_storage copy;
  if (length > sizeof copy) return next(socket, address, length);
  memcpy(&copy, address, length);
  struct sockaddr_in *four = (struct sockaddr_in *)&copy;
  struct sockaddr_in6 *six = (struct sockaddr_in6 *)&copy;
  if (copy.ss_family == AF_INET && four->sin_addr.s_addr == htonl(INADDR_ANY))
    four->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  else if (copy.ss_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&six->sin6_addr))
    six->sin6_addr = in6addr_loopback;
  return next(socket, (struct sockaddr *)&copy, length);
}
