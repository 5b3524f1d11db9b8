/* global Vue */
// Two Vue components with a WebSocket each. Vue's runtime build takes render functions only, and so
// needs no eval, which the site's policy forbids.
(() => {
  const FIRST_WAIT = 500;
  const LONGEST_WAIT = 15000;
  const MOST_LINES = 100;

  if (typeof Vue === 'undefined') {
    document.getElementById('fault').textContent =
      'Vue is not served at /lib/vue/. conf/examples/vue.yaml shows how.';
    return;
  }

  const urlOf = (path) => `${location.protocol === 'https:' ? 'wss:' : 'ws:'}//${location.host}${path}`;

  // A connection that lives as long as its component and comes back when it is lost.
  const connected = {
    props: { path: { type: String, required: true } },
    data: () => ({ state: 'connecting', lines: [], next: 1 }),
    created() {
      this.wait = FIRST_WAIT;
      this.connect();
    },
    beforeDestroy() {
      clearTimeout(this.timer);
      const socket = this.socket;
      this.socket = null;
      socket.close(1000, 'destroyed');
    },
    // The newest line stays in view, unless somebody has scrolled up to read.
    beforeUpdate() {
      const { log } = this.$refs;
      this.follows = !log || log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    },
    updated() {
      const { log } = this.$refs;
      if (log && this.follows) log.scrollTop = log.scrollHeight;
    },
    methods: {
      connect() {
        this.state = 'connecting';
        const socket = new WebSocket(urlOf(this.path));
        this.socket = socket;
        // What a socket says after its component is gone is nobody's business.
        const on = (event, act) => {
          socket.addEventListener(event, (fact) => { if (this.socket === socket) act(fact); });
        };
        on('open', () => {
          this.wait = FIRST_WAIT;
          this.state = 'open';
          if (this.opened) this.opened();
        });
        on('message', ({ data }) => this.add(String(data)));
        on('close', () => this.comeBack());
      },
      comeBack() {
        this.state = 'lost';
        // Longer each time, and never as long as the neighbours: they lost it together.
        this.timer = setTimeout(() => this.connect(), this.wait * (0.5 + Math.random() / 2));
        this.wait = Math.min(this.wait * 2, LONGEST_WAIT);
      },
      add(text) {
        this.lines.push({ id: this.next, text });
        this.next += 1;
        if (this.lines.length > MOST_LINES) this.lines.shift();
      },
      renderState(h) {
        const words = { connecting: 'Connecting…', open: 'Connected', lost: 'Connection lost; trying again' };
        return h('div', { class: 'facts' }, [
          h('p', { class: 'state', attrs: { role: 'status', 'data-state': this.state } }, words[this.state]),
          h('p', { class: 'address' }, this.path),
        ]);
      },
      renderLines(h, label) {
        return h('div', { ref: 'log', class: 'log', attrs: { role: 'log', 'aria-label': label, tabindex: '0' } },
          [h('ol', this.lines.map(({ id, text }) => h('li', { key: id }, text)))]);
      },
    },
  };

  const Messages = {
    name: 'Messages',
    mixins: [connected],
    data: () => ({ text: '' }),
    methods: {
      opened() { this.send({ type: 'hello', from: 'vue' }); },
      send(message) { this.socket.send(JSON.stringify(message)); },
      submit(event) {
        event.preventDefault();
        if (this.state !== 'open' || !this.text) return;
        this.send({ type: 'say', text: this.text });
        this.text = '';
      },
    },
    render(h) {
      return h('div', [
        this.renderState(h),
        this.renderLines(h, 'Messages'),
        h('form', { on: { submit: this.submit } }, [
          h('label', { attrs: { for: 'text' } }, 'Message'),
          h('input', {
            attrs: { id: 'text', maxlength: 4000, autocomplete: 'off' },
            domProps: { value: this.text },
            on: { input: ({ target }) => { this.text = target.value; } },
          }),
          h('button', { class: 'main', attrs: { disabled: this.state !== 'open' } }, 'Send'),
        ]),
      ]);
    },
  };

  const Captures = {
    name: 'Captures',
    mixins: [connected],
    render(h) {
      return h('div', [this.renderState(h), this.renderLines(h, 'Captures')]);
    },
  };

  // A component and the button that destroys it and makes it again.
  const Frame = {
    name: 'Frame',
    props: { title: { type: String, required: true } },
    data: () => ({ shown: true }),
    render(h) {
      return h('section', { attrs: { 'aria-label': this.title } }, [
        h('div', { class: 'head' }, [
          h('h2', this.title),
          h('button', { attrs: { type: 'button' }, on: { click: () => { this.shown = !this.shown; } } },
            this.shown ? 'Destroy' : 'Create'),
        ]),
        this.shown ? this.$slots.default : h('p', { class: 'state' }, 'Destroyed; its connection is closed.'),
      ]);
    },
  };

  new Vue({
    render: (h) => h('main', { attrs: { id: 'app' } }, [
      h(Frame, { props: { title: 'JSON' } }, [h(Messages, { props: { path: '/ws/vue/' } })]),
      h(Frame, { props: { title: 'Captures' } },
        [h(Captures, { props: { path: '/qrCodePage/ID=1/refreshTime=5' } })]),
    ]),
  }).$mount('#app');
})();
