"""What is added to the page of textual-serve: nothing that is typed while it loads is lost."""

# The terminal exists when the page has loaded, and its connection is open a moment later. Keys
# that are pressed before that are sent when the connection is open.
PAGE_SCRIPT = """<script>
(() => {
    const early = [], send = WebSocket.prototype.send;
    WebSocket.prototype.send = function (message) {
        if (this.readyState === WebSocket.CONNECTING) return early.push(message);
        for (const each of early.splice(0)) send.call(this, each);
        return send.call(this, message);
    };
    function keepKey(event) {
        if (event.ctrlKey || event.altKey || event.metaKey) return;
        const names = {Enter: "\\r", Backspace: "\\x7f"};
        const text = names[event.key] || (event.key.length === 1 ? event.key : "");
        if (text) {
            early.push(JSON.stringify(["stdin", text]));
            event.preventDefault();
        }
    }
    function focusTerminal() {
        removeEventListener("keydown", keepKey);
        document.querySelector(".xterm-helper-textarea").focus();
    }
    addEventListener("keydown", keepKey);
    addEventListener("load", () => setTimeout(focusTerminal));  // the page's own handler is next
})();
</script>"""


def add_script(page: str) -> str:
    """Return an HTML page with the script, which runs before those of the page."""
    return page.replace("<head>", f"<head>{PAGE_SCRIPT}", 1)
