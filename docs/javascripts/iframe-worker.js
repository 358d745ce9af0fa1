// A page that is read from a folder may start no worker: there, the search runs in a hidden frame instead.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.body.appendChild(document.createElement("iframe"));
      frame.hidden = true;
      const inner = frame.contentWindow;
      const load = (source) =>
        new Promise((loaded) => {
          const script = inner.document.createElement("script");
          script.src = source;
          script.onload = loaded;
          inner.document.head.appendChild(script);
        });
      inner.importScripts = (...sources) =>
        sources.reduce((before, source) => before.then(() => load(source)), Promise.resolve());
      inner.postMessage = (message) => {
        const event = new MessageEvent("message", { data: message });
        this.dispatchEvent(event);
        if (this.onmessage) this.onmessage(event);
      };
      this.inner = inner;
      this.ready = load(url);
    }

    postMessage(message) {
      this.ready.then(() => this.inner.dispatchEvent(new this.inner.MessageEvent("message", { data: message })));
    }
  };
}
