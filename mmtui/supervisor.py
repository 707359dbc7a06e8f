"""The process that a shell starts: it waits for the one that works, and exits as that one did.

A native library that crashes takes its process with it before Python can say a word, and a process
that the kernel kills for its memory can't say one at all. So somebody else has to.
"""

import faulthandler
import fcntl
import os
import signal
from collections.abc import Callable
from typing import NoReturn

from mmtui.crashes import CRASHES, Dump

# Sent by a person or the system to end a process. There is nothing to report.
_ENDINGS = {
    signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2,
}  # fmt: skip
_FORWARDED = _ENDINGS | CRASHES | {signal.SIGTSTP}
_BLOCKED = _FORWARDED | {signal.SIGCHLD, signal.SIGTTIN, signal.SIGTTOU}
# What leaves a full-screen application: keyboard protocol, alternate screen, mouse, focus,
# bracketed paste, in-band resizes, synchronized output; then cursor, line wrap and colours.
_LEAVE_SCREEN = (
    b"\x1b[<u\x1b[?1049l\x1b[?1000;1002;1003;1006;1015;1016l\x1b[?1004l\x1b[?2004l\x1b[?2048l"
    b"\x1b[?2026l\x1b[?25h\x1b[?7h\x1b[0m"
)


def supervise(report: Callable[[int, str], int]) -> None:
    """Return in a child process. The parent stays here, and exits with the child's exit code.

    The parent passes signals on, stops and continues with the child, and takes the child with it
    when it is killed. This is for Linux alone.

    Args:
        report: Called in the parent when a signal killed the child, with that signal and the
            stacks that `faulthandler` wrote. Returns the exit code.
    """
    dump, terminal = Dump(), _Terminal()
    watched, held = os.pipe()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # where it is ignored, nobody can be waited for
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _BLOCKED)
    parent = os.getpid()
    try:
        child = os.fork()
    except OSError:  # there may be no more processes: the work can be done without
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        faulthandler.enable()
        return
    if child == 0:
        # Only the parent holds the other end. When that closes, the kernel kills this process.
        os.close(held)
        fcntl.fcntl(watched, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(watched, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(watched, fcntl.F_SETFL, os.O_ASYNC)
        if os.getppid() != parent:
            os._exit(1)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        faulthandler.enable(dump)
        return
    os.close(watched)
    status = _wait(child)
    if not os.WIFSIGNALED(status):
        os._exit(os.WEXITSTATUS(status))
    terminal.restore()
    number = os.WTERMSIG(status)
    if number in _ENDINGS:
        _die_of(number)
    os._exit(report(number, dump.read()))


def _wait(child: int) -> int:
    """Pass signals on until the child ends. Returns its wait status."""
    while True:
        received = signal.sigwaitinfo(_BLOCKED)
        # What a process sends is for this one. What the terminal sends, the child gets by itself,
        # but that the terminal is gone is told the leader of its session alone.
        is_hangup = received.si_signo == signal.SIGHUP and os.getsid(0) == os.getpid()
        if received.si_signo in _FORWARDED and (received.si_code <= 0 or is_hangup):
            os.kill(child, received.si_signo)
        elif received.si_signo == signal.SIGCHLD:
            if _is_stopped(child):
                os.kill(os.getpid(), signal.SIGSTOP)
                if _is_stopped(child):  # a shell continues both, `kill -CONT PID` only this one
                    os.kill(child, signal.SIGCONT)
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                return status


def _is_stopped(child: int) -> bool:
    options = os.WEXITED | os.WSTOPPED | os.WNOHANG | os.WNOWAIT
    state = os.waitid(os.P_PID, child, options)
    return state is not None and state.si_code == os.CLD_STOPPED


def _die_of(number: int) -> NoReturn:
    """End by the signal that ended the child, so that a shell sees what it would have seen."""
    signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    os.kill(os.getpid(), number)
    os._exit(128 + number)


class _Terminal:
    """The terminal as it was at the start, if there is one."""

    def __init__(self) -> None:
        self._descriptor = next((number for number in (1, 2, 0) if os.isatty(number)), None)
        if self._descriptor is not None:
            import termios

            self._attributes = termios.tcgetattr(self._descriptor)

    def restore(self) -> None:
        """Put back what a process that died in the middle has changed."""
        if self._descriptor is None:
            return
        import termios

        try:
            left = termios.tcgetattr(self._descriptor)
            termios.tcsetattr(self._descriptor, termios.TCSANOW, self._attributes)
            if not left[3] & termios.ISIG:  # as on a full screen, where Ctrl-C is a key
                os.write(self._descriptor, _LEAVE_SCREEN)
        except (OSError, termios.error):  # the terminal is gone
            return
