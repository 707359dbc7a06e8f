"""A parent process that waits for the process that does the work, and exits as that one did.

If a native library crashes, or the kernel kills a process because memory ran out, the process can't
report it. The parent process does.
"""

import faulthandler
import fcntl
import os
import signal
from collections.abc import Callable
from typing import NoReturn

from mmtui.crashes import CRASHES, Dump, enable_dump

# Sent by a person or the system to end a process, which needs no report.
_ENDINGS = {
    signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2,
}  # fmt: skip
_FORWARDED = _ENDINGS | CRASHES | {signal.SIGTSTP}
_BLOCKED = _FORWARDED | {signal.SIGCHLD, signal.SIGTTIN, signal.SIGTTOU}
# Turns off the terminal modes of a full-screen application: keyboard protocol, alternate screen,
# mouse, focus, bracketed paste, in-band resizes, synchronized output. Then resets the cursor, line
# wrap and colours.
_LEAVE_SCREEN = (
    b"\x1b[<u\x1b[?1049l\x1b[?1000;1002;1003;1006;1015;1016l\x1b[?1004l\x1b[?2004l\x1b[?2048l"
    b"\x1b[?2026l\x1b[?25h\x1b[?7h\x1b[0m"
)


def supervise(report: Callable[[int, str], int]) -> None:
    """Fork, and return in the child. The parent waits, and exits with the child's exit code.

    The parent forwards signals, and is suspended and continued together with the child. If the
    parent is killed, so is the child. Works only on Linux.

    Args:
        report: Called in the parent after a crash of the child, with the signal and the stacks that
            `faulthandler` wrote. Returns the exit code.
    """
    dump, terminal = Dump(), _Terminal()
    read_end, write_end = os.pipe()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # if it is ignored, waiting fails
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _BLOCKED)
    parent = os.getpid()
    try:
        child = os.fork()
    except OSError:  # too many processes: run without supervision
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        faulthandler.enable()
        return
    if child == 0:
        # The parent has the only write end. When it is closed, the kernel kills this process.
        os.close(write_end)
        fcntl.fcntl(read_end, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(read_end, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(read_end, fcntl.F_SETFL, os.O_ASYNC)
        if os.getppid() != parent:
            os._exit(1)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        enable_dump(dump)
        return
    os.close(read_end)
    status = _wait(child)
    if not os.WIFSIGNALED(status):
        os._exit(os.WEXITSTATUS(status))
    terminal.restore()
    number = os.WTERMSIG(status)
    if number in _ENDINGS:
        _die_of(number)
    os._exit(report(number, dump.read()))


def _wait(child: int) -> int:
    """Forward signals until the child ends; return its wait status."""
    while True:
        received = signal.sigwaitinfo(_BLOCKED)
        # Signals from processes (si_code <= 0) reach only this process. Those from the terminal
        # reach the child, too, except SIGHUP, which only the session leader gets.
        is_hangup = received.si_signo == signal.SIGHUP and os.getsid(0) == os.getpid()
        if received.si_signo in _FORWARDED and (received.si_code <= 0 or is_hangup):
            os.kill(child, received.si_signo)
        elif received.si_signo == signal.SIGCHLD:
            if _is_stopped(child):
                os.kill(os.getpid(), signal.SIGSTOP)
                if _is_stopped(child):  # `kill -CONT PID` continues only the parent
                    os.kill(child, signal.SIGCONT)
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                return status


def _is_stopped(child: int) -> bool:
    options = os.WEXITED | os.WSTOPPED | os.WNOHANG | os.WNOWAIT
    state = os.waitid(os.P_PID, child, options)
    return state is not None and state.si_code == os.CLD_STOPPED


def _die_of(number: int) -> NoReturn:
    """Kill this process with the signal that killed the child, so that the shell sees the same."""
    signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    os.kill(os.getpid(), number)
    os._exit(128 + number)


class _Terminal:
    """The settings of the terminal, if there is one, at the time of the start."""

    def __init__(self) -> None:
        self._descriptor = next((number for number in (1, 2, 0) if os.isatty(number)), None)
        if self._descriptor is not None:
            import termios

            self._attributes = termios.tcgetattr(self._descriptor)

    def restore(self) -> None:
        """Restore the settings that a crashed process has changed."""
        if self._descriptor is None:
            return
        import termios

        try:
            current = termios.tcgetattr(self._descriptor)
            termios.tcsetattr(self._descriptor, termios.TCSANOW, self._attributes)
            if not current[3] & termios.ISIG:  # a full-screen application reads Ctrl-C as a key
                os.write(self._descriptor, _LEAVE_SCREEN)
        except (OSError, termios.error):  # the terminal is gone
            return
