// Before anything is drawn: light or dark as chosen, else as the system has it.
(() => {
  const chosen = localStorage.getItem('boxwright.theme');
  const dark = chosen ? chosen === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
  document.documentElement.dataset.theme = dark ? 'dark' : 'light';
})();
