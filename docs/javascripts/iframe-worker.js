// A page that is read from a folder may start no worker; the search then runs in a hidden frame.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.body.appendChild(document.createElement("iframe"));
      frame.hidden = true;
      this.frame = frame.contentWindow;
      window.addEventListener("message", (event) => {
        if (event.source !== this.frame) return;
        const message = new MessageEvent("message", { data: event.data });
        this.dispatchEvent(message);
        if (this.onmessage) this.onmessage(message);
      });
      const page = this.frame.document;
      page.open();
      page.write(
        `<script>
          postMessage = (message) => parent.postMessage(message, "*");
          importScripts = (...urls) => urls.reduce((before, url) => before.then(() => new Promise((loaded) => {
            const script = document.createElement("script");
            script.src = url;
            script.onload = loaded;
            document.head.appendChild(script);
          })), Promise.resolve());
        <\/script><script src="${url}"><\/script>`,
      );
      page.close();
    }
    postMessage(message) {
      this.frame.postMessage(message, "*");
    }
    terminate() {
      this.frame.frameElement.remove();
    }
  };
}
