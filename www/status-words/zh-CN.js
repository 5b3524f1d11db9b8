// 简体中文，状态页。
const number = new Intl.NumberFormat('zh-CN');

export default {
  name: 'Sluice 状态',
  pause: '暂停',
  goOn: '继续',
  what: (version, library, transport, threads) =>
    `Sluice ${version}，libh2o ${library}，${number.format(threads)} 个线程，${transport === 'io_uring' ? 'io_uring' : '逐个系统调用'}`,

  asking: '正在询问服务器…',
  well: (up) => `一切正常。服务器已运行 ${up}。`,
  look: (up) => `服务器有应答，已运行 ${up}。请留意：`,
  silent: (since) => `服务器自 ${since} 起没有应答。下面是之前的数据；本页会继续询问。`,
  never: '服务器没有应答。本页会继续询问。',
  noFigures: (status) => `这个地址没有数据（${status}）：本页旁边需要“metrics: ON”。`,
  paused: (at) => `已在 ${at} 暂停。`,
  up: (days, hours, minutes, seconds) => {
    if (days > 0) return `${days} 天 ${hours} 小时`;
    if (hours > 0) return `${hours} 小时 ${minutes} 分钟`;
    return minutes > 0 ? `${minutes} 分钟` : `${seconds} 秒`;
  },

  notices: '需要留意',
  held: (consumer, route, count) => `${consumer} 占用线程过久，共 ${number.format(count)} 次（${route}）。`,
  slow: (count) => `${number.format(count)} 条消息放不进读得太慢的客户端的队列。`,
  stalled: (count) => `${number.format(count)} 个连接被重置：客户端不再接收。`,
  full: (count) => `拒绝了 ${number.format(count)} 个连接：已达到 max-connections。`,
  restarted: (count) => `工作进程重新启动了 ${number.format(count)} 次。`,
  reloadRefused: (count) => `${number.format(count)} 次重新加载被拒绝。`,

  websockets: 'WebSocket',
  messages: '每秒消息',
  bytes: '每秒字节',
  queued: '等待发送',
  processor: '处理器',
  memory: '内存',
  in: '收',
  out: '发',
  span: (minutes) => `${minutes} 分钟前`,
  now: '现在',
  plot: (name, now, most, minutes) => `${name}：现在 ${now}，${minutes} 分钟内最高 ${most}`,

  routes: '路由',
  noRoutes: '没有带消费者的路由。',
  columns: ['模式', '消费者', 'WebSocket', '每秒调用', '占用时间', '过久'],
  closes: '已结束的 WebSocket',
  closeCodes: {
    1000: '正常结束', 1001: '离开，或服务器停止', 1002: '协议错误', 1005: '没有代码',
    1006: '断线', 1007: '不是文本', 1008: '违反规则', 1009: '消息太大', 1011: '消费者出错',
    1012: '重新启动', 1013: '读得太慢', other: '其他代码', '3000-3999': '库的代码', '4000-4999': '消费者的代码',
  },
  refused: '已拒绝',
  causes: {
    'max-connections': '超过 max-connections', head: '请求头有误', method: '不支持的方法',
    path: '路径有误', 'dot-file': '点文件', 'match-limit': '模式匹配超限', origin: '外来的来源',
    handshake: '握手有误', 'no-handshake': '不是 WebSocket 握手', token: '发布时没有正确的令牌',
    'thread-full': '没有位置，或正在停止',
  },
  none: '还没有',
  more: '其他',
  besides: {
    connections: '打开的连接', accepted: '已接受的连接', groups: '群组', memberships: '群组成员',
    timers: '定时器', offload: '等待线程池的任务', generation: '配置编号', reloads: '重新加载', restarts: '重新启动',
  },
};
