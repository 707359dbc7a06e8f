"""What is added to the page of textual-serve.

Nothing that is typed while it loads is lost, and it has the title of the conversation.
"""

TITLE = "title"  # the type of the message with the title of the page

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

// The page ignores messages of types that it does not know.
document.title = "mmtui";
window.WebSocket = class extends WebSocket {
    constructor(...options) {
        super(...options);
        this.addEventListener("message", (event) => {
            if (typeof event.data !== "string") return;
            const [type, title] = JSON.parse(event.data);
            if (type === "title") document.title = title;
        });
    }
};
</script>"""


def add_script(page: str) -> str:
    """Return an HTML page with the script, which runs before those of the page."""
    return page.replace("<head>", f"<head>{PAGE_SCRIPT}", 1)
