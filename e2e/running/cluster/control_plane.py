"""A real Kubernetes control plane: etcd, API server, controller manager, scheduler."""

from pathlib import Path

from running.cluster.api import Api, connect
from running.cluster.authority import Authority
from running.cluster.network import API_SERVER, SERVICE_RANGE
from running.process import ServerProcess
from running.scrape import eventually

API_PORT = 6443
START_SECONDS = 150.0
ETCD = "http://127.0.0.1:2379"
ETCD_PEERS = "http://127.0.0.1:2380"
SERVER_NAMES = (
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "127.0.0.1",
    API_SERVER,
    "10.96.0.1",
)


class ControlPlane:
    """Processes of one cluster, and how to be its administrator.

    Ports are fixed: the network namespace is the cluster's own.

    Args:
        binaries: Directory of what ``tools/kubernetes_build.py`` made.
        state: Where etcd's data and the keys live; in memory, they are gone with it.
        logs: Where each process writes what it says.
    """

    def __init__(self, binaries: Path, state: Path, logs: Path) -> None:
        self._binaries = binaries
        self._state = state
        self._logs = logs
        self.authority = self._pki = Authority(state / "pki", f"https://{API_SERVER}:{API_PORT}")
        self._running: dict[str, ServerProcess] = {}
        self._starts = 0
        self._issue()
        self.kubeconfig = state / "pki/admin.kubeconfig"
        self.api: Api = connect(self.kubeconfig)

    @property
    def processes(self) -> list[ServerProcess]:
        """All that were started and not stopped, in the order of their start."""
        return list(self._running.values())

    def start(self) -> None:
        """Start all parts and wait until pods can be created."""
        self._start("etcd", self._etcd())
        self.start_api_server()
        for name in ("kube-controller-manager", "kube-scheduler"):
            flags = self._controller_manager() if name.endswith("manager") else []
            self._start(name, [*self._client_of_api(name), *flags])
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        eventually(lambda: self.api.find(account) is not None, START_SECONDS, "ServiceAccounts")

    def start_api_server(self) -> None:
        """Start the API server and wait until it says that it is ready."""
        process = self._start("kube-apiserver", self._api_server())
        eventually(
            lambda: not process.running or self.api.ready(), START_SECONDS, "the API server is up"
        )
        assert process.running, str(process)

    def stop_api_server(self) -> None:
        """End the API server at once, as when its machine dies; etcd keeps what it stored."""
        self._running.pop("kube-apiserver").kill()

    def stop(self) -> None:
        """End everything, the store last; what is stored goes with the run, so nothing is saved.

        An API server that is asked to stop waits for its watches, for longer than it is worth.
        """
        self.api.close()
        while self._running:
            _, process = self._running.popitem()
            process.kill()

    def _start(self, name: str, flags: list[str]) -> ServerProcess:
        self._starts += 1
        log = self._logs / f"{self._starts:02}-{name}.log"
        process = ServerProcess(name, [str(self._binaries / name), *flags], log, {})
        self._running[name] = process
        return process

    def _issue(self) -> None:
        pki = self._pki
        pki.issue_signing_key("accounts")
        pki.issue("apiserver", "kube-apiserver", hosts=SERVER_NAMES)
        pki.issue("front-proxy", "front-proxy")
        pki.issue("kubelet-client", "kube-apiserver-kubelet-client", ["system:masters"])
        pki.issue_kubeconfig("admin", "admin", ["system:masters"])
        for name in ("kube-controller-manager", "kube-scheduler"):
            pki.issue_kubeconfig(name, f"system:{name}")

    def _etcd(self) -> list[str]:
        return [
            f"--data-dir={self._state / 'etcd'}",
            f"--listen-client-urls={ETCD}",
            f"--advertise-client-urls={ETCD}",
            f"--listen-peer-urls={ETCD_PEERS}",
            f"--initial-advertise-peer-urls={ETCD_PEERS}",
            f"--initial-cluster=default={ETCD_PEERS}",
        ]

    def _api_server(self) -> list[str]:
        pki = self._pki.directory
        return [
            f"--etcd-servers={ETCD}",
            "--bind-address=0.0.0.0",
            f"--secure-port={API_PORT}",
            f"--advertise-address={API_SERVER}",
            f"--tls-cert-file={pki}/apiserver.crt",
            f"--tls-private-key-file={pki}/apiserver.key",
            f"--client-ca-file={pki}/ca.crt",
            f"--service-account-key-file={pki}/accounts.pub",
            f"--service-account-signing-key-file={pki}/accounts.key",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            # Its first look at a new kind of object may take longer than it waits for itself.
            "--disable-admission-plugins=ResourceQuota",
            f"--service-cluster-ip-range={SERVICE_RANGE}",
            "--allow-privileged=true",
            f"--requestheader-client-ca-file={pki}/ca.crt",
            "--requestheader-allowed-names=front-proxy",
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            f"--proxy-client-cert-file={pki}/front-proxy.crt",
            f"--proxy-client-key-file={pki}/front-proxy.key",
            f"--kubelet-client-certificate={pki}/kubelet-client.crt",
            f"--kubelet-client-key={pki}/kubelet-client.key",
            "--kubelet-preferred-address-types=InternalIP",
        ]

    def _client_of_api(self, name: str) -> list[str]:
        config = self._pki.directory / f"{name}.kubeconfig"
        return [
            *(f"--{what}kubeconfig={config}" for what in ("", "authentication-", "authorization-")),
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
        ]

    def _controller_manager(self) -> list[str]:
        pki = self._pki.directory
        return [
            "--use-service-account-credentials=true",
            f"--service-account-private-key-file={pki}/accounts.key",
            f"--root-ca-file={pki}/ca.crt",
            f"--cluster-signing-cert-file={pki}/ca.crt",
            f"--cluster-signing-key-file={pki}/ca.key",
            # On a busy machine a node may be silent for longer than the usual 40 s.
            "--node-monitor-grace-period=120s",
            # What a busy cluster's controllers may ask for; the defaults are for one request
            # every 50 ms, which the scenarios would measure in place of ours.
            "--kube-api-qps=200",
            "--kube-api-burst=400",
        ]
