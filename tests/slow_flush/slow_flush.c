/* Delays fdatasync in PostgreSQL, to be preloaded: a disk that pauses, as PostgreSQL sees it.
 *
 * The file that DGM_SLOW_FLUSH names has two numbers of milliseconds: PERIOD and PAUSE. Once every period a pause begins, for all
 * processes at the same time, and a flush that begins in it returns after its end. While there is no such file, nothing is delayed. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char *path;

/* PostgreSQL writes its titles over the name and the environment that it was started with. */
__attribute__((constructor)) static void start(void) {
    const char *given = getenv("DGM_SLOW_FLUSH");
    if (given != NULL && strcmp(program_invocation_short_name, "postgres") == 0)
        path = strdup(given);
}

static void wait_for_end_of_pause(void) {
    FILE *file = path != NULL ? fopen(path, "re") : NULL;
    if (file == NULL)
        return;
    long period = 0, pause = 0;
    int found = fscanf(file, "%ld %ld", &period, &pause);
    fclose(file);
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (found != 2 || period <= 0)
        return;
    long left = pause - (now.tv_sec * 1000 + now.tv_nsec / 1000000) % period;
    if (left <= 0)
        return;
    struct timespec rest = {left / 1000, left % 1000 * 1000000};
    while (nanosleep(&rest, &rest) != 0 && errno == EINTR) {
    }
}

int fdatasync(int descriptor) {
    int (*next)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    wait_for_end_of_pause();
    return next(descriptor);
}
