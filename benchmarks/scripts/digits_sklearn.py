"""The digits as a user of scikit-learn trains on them; prints the accuracy on the test rows."""

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.2, stratify=y, random_state=0)
network = make_pipeline(StandardScaler(), MLPClassifier((100,), max_iter=100, tol=1e-3, random_state=0))
network.fit(X_train, y_train)
print(network.score(X_test, y_test))
