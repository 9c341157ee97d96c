// What the page says, in English and Chinese.

const WORDS = {
  en: {
    title: 'Review', clips: 'Clips', tracks: 'Tracks', left: 'left', saved: 'saved', waiting: 'waiting', offline: 'offline',
    finish: 'Finish clip', finishAnyway: 'Finish anyway', help: 'Keys', language: '中文', theme: 'Light / dark',
    top: 'Top', side: 'Side', rear: 'Rear', camera: 'Camera', scene: 'Whole scene', frame: 'Frame', points: 'points',
    noTrack: 'Choose a track, or press Tab for the next one', predicted: 'carried', keyed: 'by hand', moving: 'moving', static: 'parked',
    scope_box: 'this frame', scope_onward: 'from here on', scope_track: 'whole track', scope: 'Edits go to',
    accept: 'Accept', reject: 'Send back', relabel: 'Class', move: 'Move', size: 'Size', turn: 'Turn', flip: 'Flip front and back',
    shrink: 'Shrink to points', ground: 'Set on ground', copy_size: 'This size for the track', interpolate: 'Interpolate between set frames',
    split: 'Split here', merge: 'Merge with…', extend: 'Extend to this frame', delete: 'Delete track', remove: 'Delete', score: 'score', delete_box: 'Delete in this frame',
    create: 'New box under the pointer', undo: 'Undo', redo: 'Redo', next: 'Next item', previous: 'Back to the last item', play: 'Play / stop',
    frameBack: 'One frame back', frameOn: 'One frame on', worst: 'To its worst frame', color: 'Colour by', follow: 'Scene / object',
    history: 'History', remark: 'Remark', height: 'height', intensity: 'intensity', range: 'range', scopeNext: 'Change what edits go to',
    class_n: 'Class 1 to 9', forward: 'Forward', backward: 'Back', leftwards: 'Left', rightwards: 'Right', up: 'Up', down: 'Down',
    turnLeft: 'Turn left', turnRight: 'Turn right', longer: 'Longer', shorter: 'Shorter', wider: 'Wider', narrower: 'Narrower',
    taller: 'Taller', lower: 'Lower', fine: 'with Shift: fine steps', preset: 'Keys as in', mergeHint: 'Click the track that takes its boxes, or press Esc',
    conflict: 'Somebody was faster', conflictText: 'changed this track since you saw it. It shows their state now.', mineAgain: 'Do mine again', theirs: 'Keep theirs',
    heldBy: 'is working on this track', why: 'Why does it go back?', done: 'Nothing left to decide', doneText: 'Every track that you may see is decided about or held by somebody else.',
    written: 'Labels are written as revision', undecided: 'tracks are undecided: finishing now keeps open ones as they are and leaves out what was sent back or only suggested.',
    signIn: 'Sign in', name: 'Name', password: 'Password', signOut: 'Sign out', signInBy: 'Sign in with {}', close: 'Close', add: 'Add', resolve: 'Settle', noRemarks: 'No remarks', noHistory: 'Nothing was done to this track',
    missing: 'missing', extra: 'no object', class: 'wrong class', position: 'position', size_e: 'size', heading: 'heading', half_turn: '180° turned', id_switch: 'objects swapped', time: 'time', guideline: 'guideline?',
    perTrack: 's per track', working: 'working…', loading: 'Reading the clip…', revision: 'revision', expected: 'expected to save', save_s: 's',
    filterClass: 'Show only this class', filterState: 'Show only', allClasses: 'all classes', show_all: 'all', show_open: 'open', show_clean: 'clean', show_returned: 'sent back', show_accepted: 'accepted', show_suggested: 'suggested', suggestedText: 'no label yet: is it an object?',
    chooseAll: 'Choose all shown', chosen: 'chosen', accept_all: 'Accept several', delete_all: 'Delete several', relabel_all: 'Class of several', bulk: 'Several tracks',
    canvas: '3D view', loading3d: 'loading the 3D view…', opening3d: 'opening the clip in 3D…', failed3d: 'no 3D view:',
    pace: 'Seconds and forecast', lot: 'Lot', person: 'Person', action: 'Action', count: 'Times', median: 'Median', mean: 'Mean', tracksLeft: 'Tracks left', decided: 'Decided', perDecision: 'Per track', forecast: 'To the end', putLot: 'Put this clip into the lot', notKept: 'not kept in this browser: no room', foreign: 'Somebody else has written a newer revision of this clip: it can be looked at and not worked on.', undone: 'taken back', noClip: 'None of the clips that you may see:',
  },
  zh: {
    title: '审核', clips: '片段', tracks: '目标轨迹', left: '待处理', saved: '已保存', waiting: '待发送', offline: '离线',
    finish: '完成片段', finishAnyway: '仍然完成', help: '快捷键', language: 'English', theme: '浅色 / 深色',
    top: '俯视', side: '侧视', rear: '后视', camera: '相机', scene: '全场景', frame: '帧', points: '点',
    noTrack: '选择一条轨迹，或按 Tab 取下一条', predicted: '推算', keyed: '人工设定', moving: '运动', static: '静止',
    scope_box: '当前帧', scope_onward: '从此帧起', scope_track: '整条轨迹', scope: '修改范围',
    accept: '通过', reject: '退回', relabel: '类别', move: '移动', size: '尺寸', turn: '旋转', flip: '前后翻转',
    shrink: '收缩到点云', ground: '贴地', copy_size: '尺寸应用到整条轨迹', interpolate: '在关键帧之间插值',
    split: '在此拆分', merge: '与……合并', extend: '延伸到此帧', delete: '删除轨迹', remove: '删除', score: '置信度', delete_box: '删除当前帧的框',
    create: '在光标处新建框', undo: '撤销', redo: '重做', next: '下一条', previous: '回到上一条', play: '播放 / 停止',
    frameBack: '后退一帧', frameOn: '前进一帧', worst: '跳到最可疑的帧', color: '着色', follow: '场景 / 目标',
    history: '历史', remark: '备注', height: '高度', intensity: '强度', range: '距离', scopeNext: '切换修改范围',
    class_n: '类别 1 到 9', forward: '向前', backward: '向后', leftwards: '向左', rightwards: '向右', up: '向上', down: '向下',
    turnLeft: '左转', turnRight: '右转', longer: '加长', shorter: '缩短', wider: '加宽', narrower: '变窄',
    taller: '加高', lower: '降低', fine: '按住 Shift：微调', preset: '快捷键方案', mergeHint: '点击要并入的轨迹，或按 Esc 取消',
    conflict: '已被他人修改', conflictText: '在您查看之后修改了这条轨迹，现在显示对方的结果。', mineAgain: '重新执行我的操作', theirs: '保留对方结果',
    heldBy: '正在处理这条轨迹', why: '退回原因', done: '没有待处理的轨迹', doneText: '您可见的轨迹均已处理，或正由他人处理。',
    written: '标签已写入版本', undecided: '条轨迹尚未处理：现在完成将保留未处理的轨迹，并去掉被退回的和仅为疑似的轨迹。',
    signIn: '登录', name: '姓名', password: '密码', signOut: '退出', signInBy: '使用 {} 登录', close: '关闭', add: '添加', resolve: '解决', noRemarks: '没有备注', noHistory: '这条轨迹没有任何操作',
    missing: '漏标', extra: '多标', class: '类别错误', position: '位置', size_e: '尺寸', heading: '朝向', half_turn: '朝向反 180°', id_switch: '目标互换', time: '时间', guideline: '规范存疑',
    perTrack: '秒 / 条', working: '处理中…', loading: '正在读取片段…', revision: '版本', expected: '预计节省', save_s: '秒',
    filterClass: '只显示此类别', filterState: '只显示', allClasses: '全部类别', show_all: '全部', show_open: '待处理', show_clean: '无疑点', show_returned: '已退回', show_accepted: '已通过', show_suggested: '疑似漏标', suggestedText: '尚未成为标签：这是目标吗？',
    chooseAll: '选中所有显示的轨迹', chosen: '条已选', accept_all: '批量通过', delete_all: '批量删除', relabel_all: '批量改类别', bulk: '批量',
    canvas: '三维视图', loading3d: '正在加载三维视图…', opening3d: '正在打开三维片段…', failed3d: '无三维视图：',
    pace: '用时与预计', lot: '批次', person: '人员', action: '操作', count: '次数', median: '中位数', mean: '平均', tracksLeft: '剩余轨迹', decided: '已处理', perDecision: '每条用时', forecast: '预计剩余', putLot: '将此片段归入批次', notKept: '浏览器空间不足，未保存', foreign: '他人已写入此片段的更新版本：只能查看，不能修改。', undone: '已撤销', noClip: '您可见的片段中没有：',
  },
};

let language = localStorage.getItem('boxwright.language') ?? (navigator.language.startsWith('zh') ? 'zh' : 'en');

export const word = key => WORDS[language][key] ?? WORDS.en[key] ?? key;
export const currentLanguage = () => language;

export function switchLanguage() {
  language = language === 'en' ? 'zh' : 'en';
  localStorage.setItem('boxwright.language', language);
  translate();
}

export function translate() {
  document.documentElement.lang = language === 'zh' ? 'zh-CN' : 'en';
  for (const element of document.querySelectorAll('[data-word]')) element.textContent = word(element.dataset.word);
  for (const element of document.querySelectorAll('[data-title]')) {
    element.title = word(element.dataset.title);
    element.setAttribute('aria-label', element.title);
  }
}
